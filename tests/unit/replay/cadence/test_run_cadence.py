from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.errors import NextclickError
from model.evaluation.intervals import Interval
from model.evaluation.rank_targets import rank_targets
from model.freshness.log_refresher import LogRefresher
from model.freshness.log_walk import ListsToMake, LogWalk
from model.freshness.moving_tables import FreshnessConfig
from model.networks.fused.source_arrays import CANDIDATES
from model.training.train import train
from replay.cadence import trainer as trainer_module
from replay.cadence.report import markdown, study_report
from replay.cadence.run_cadence import Cadence, Contender, rank_baselines, run_cadence
from replay.cadence.study_log import StudyLog
from replay.cadence.trainer import Trainer
from tests.harness.markov_shoppers import markov_shoppers

HOUR_MS = 3_600_000
CONFIG = ModelConfig(
    hidden_size=8, epochs=1, negatives=16, learning_rate=0.1, session_gap_s=None, exclude_session_items=True
)
NONE, BOTH = FreshnessConfig(), FreshnessConfig(True, True, after_sessions=1)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Eight hours; every second hour has items of its own."""
    frame = markov_shoppers(sessions=8000, items=40, noise=0.2, seed=3).frame
    frame = frame[frame["session_id"].str.slice(1).astype(int) % 6 == 0].reset_index(drop=True)
    hour = (frame["event_time_ms"] - frame["event_time_ms"].iloc[0]) // (2 * HOUR_MS)
    frame["item_id"] = frame["item_id"] + "-" + hour.astype(str)
    return frame


def study_log(frame: pd.DataFrame, share: float = 1.0, from_h: float = 3) -> StudyLog:
    from_ms = int(frame["event_time_ms"].iloc[0] + from_h * HOUR_MS)
    return StudyLog(frame, SessionRule(None), from_ms, share)


@pytest.fixture(scope="module")
def log(frame: pd.DataFrame) -> StudyLog:
    return study_log(frame)


def test_items_are_numbered_by_first_appearance(frame: pd.DataFrame, log: StudyLog) -> None:
    for now_ms in (log.from_ms, log.from_ms + HOUR_MS, log.end_ms):
        before = set(frame["item_id"][frame["event_time_ms"] < now_ms])
        assert set(log.vocabulary.item_ids[: log.known_at(now_ms)]) == before


def test_a_window_has_the_events_of_its_time_in_the_order_of_first_events(
    frame: pd.DataFrame, log: StudyLog
) -> None:
    begin_ms, end_ms = log.from_ms, log.from_ms + HOUR_MS
    window = log.window(begin_ms, end_ms)
    inside = frame[(frame["event_time_ms"] >= begin_ms) & (frame["event_time_ms"] < end_ms)]
    expected = Sessions.from_frame(inside, log.vocabulary, SessionRule(None))
    by_id = {s: expected.items[a:b].tolist() for s, a, b in parts(expected)}
    assert {s: window.items[a:b].tolist() for s, a, b in parts(window)} == by_id
    assert (np.diff(window.times_ms[window.offsets[:-1]]) >= 0).all()


def parts(sessions: Sessions) -> list[tuple[str, int, int]]:
    return [
        (str(s), int(a), int(b))
        for s, a, b in zip(sessions.session_ids, sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    ]


def test_a_frozen_version_ranks_as_the_offline_evaluation_does(log: StudyLog) -> None:
    trainer = Trainer(log, CONFIG)
    [never] = run_cadence(trainer, Cadence("never", None), [NONE])
    asked = log.sessions.select(np.unique(log.session_N))
    vocabulary = trainer.first.start.vocabulary
    unknown = Sessions(
        asked.offsets,
        np.where(asked.items < len(vocabulary), asked.items, -1),
        asked.times_ms,
        asked.session_ids,
    )
    offline = rank_targets(
        trainer.first.network, unknown, exclude_session_items=True, popularity_V=vocabulary.counts
    )
    assert offline.unknown > 100
    assert np.bincount(never.ranks_N).tolist() == np.bincount(offline.ranks).tolist()


def test_a_version_is_trained_on_nothing_from_its_own_tick_on(
    log: StudyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[tuple[int, int, int]] = []

    def spied(sessions: Sessions, vocabulary: Any, config: ModelConfig, **options: Any) -> Any:
        times_ms = sessions.times_ms
        windows.append((int(times_ms.min()), int(times_ms.max()), len(vocabulary)))
        return train(sessions, vocabulary, config, **options)

    monkeypatch.setattr(trainer_module, "train", spied)
    [hourly] = run_cadence(Trainer(log, CONFIG), Cadence("1h", HOUR_MS), [NONE])
    assert hourly.versions == len(windows) == 1 + (log.end_ms - 1 - log.from_ms) // HOUR_MS
    assert windows[0][1] < log.from_ms
    for number, (first_ms, last_ms, known) in enumerate(windows[1:], 1):
        tick_ms = log.from_ms + number * HOUR_MS
        assert tick_ms - HOUR_MS <= first_ms <= last_ms < tick_ms
        assert known == log.known_at(tick_ms)


@pytest.mark.parametrize("freshness", [NONE, BOTH])
def test_lists_do_not_depend_on_what_comes_later(frame: pd.DataFrame, freshness: FreshnessConfig) -> None:
    whole = study_log(frame)
    cut_ms = whole.from_ms + int(2.5 * HOUR_MS)
    cut = study_log(frame[frame["event_time_ms"] < cut_ms].reset_index(drop=True))
    cadence = Cadence("1h", HOUR_MS)
    [of_whole] = run_cadence(Trainer(whole, CONFIG), cadence, [freshness])
    [of_cut] = run_cadence(Trainer(cut, CONFIG), cadence, [freshness])
    before = dict(zip(keys(whole), of_whole.ranks_N.tolist(), strict=True))
    same = np.array(
        [before[key] == rank for key, rank in zip(keys(cut), of_cut.ranks_N.tolist(), strict=True)]
    )
    assert len(same) > 1000
    # A product of another number of rows may differ in its last bits.
    assert same.mean() > 0.999


def test_no_list_knows_of_an_event_after_its_own(log: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    refreshed_ms: list[int] = []
    ages_ms: list[int] = []
    real_refresh, real_step = LogRefresher.refresh, LogWalk.step

    def refresh(self: LogRefresher, now_ms: int) -> None:
        refreshed_ms.append(now_ms)
        real_refresh(self, now_ms)

    def step(self: LogWalk, wave: Any) -> ListsToMake:
        ages_ms.extend((log.sessions.times_ms[wave] - refreshed_ms[-1]).tolist())
        return real_step(self, wave)

    monkeypatch.setattr(LogRefresher, "refresh", refresh)
    monkeypatch.setattr(LogWalk, "step", step)
    run_cadence(Trainer(log, CONFIG), Cadence("never", None), [BOTH], refresh_every_ms=120_000)
    assert len(refreshed_ms) > 100
    assert min(ages_ms) >= 0
    assert max(ages_ms) < 120_000


def keys(log: StudyLog) -> list[tuple[str, int]]:
    first = log.sessions.offsets[:-1][log.session_N]
    ids = log.sessions.session_ids[log.session_N]
    return list(zip(ids.tolist(), (log.inputs_N - first).tolist(), strict=True))


def test_refreshing_makes_items_known_that_appear_between_trainings(log: StudyLog) -> None:
    trainer = Trainer(log, CONFIG)
    never, followed = run_cadence(trainer, Cadence("never", None), [NONE, BOTH])
    [hourly] = run_cadence(trainer, Cadence("1h", HOUR_MS), [NONE])
    is_born = log.sessions.items[log.inputs_N + 1] >= log.known_at(log.from_ms)
    assert is_born.mean() > 0.5
    assert (never.ranks_N[is_born] == 0).all()
    assert (followed.ranks_N[is_born] > 0).mean() > 0.7
    assert hits(followed) > hits(never) + 0.1
    assert hits(hourly) > hits(never) + 0.1


def test_a_fused_list_follows_along_a_log_with_its_sources(log: StudyLog) -> None:
    trainer = Trainer(log, CONFIG.model_copy(update={"network": "fused"}))
    standing, followed = run_cadence(trainer, Cadence("3h", 3 * HOUR_MS), [NONE, BOTH])
    is_born = log.sessions.items[log.inputs_N + 1] >= log.known_at(log.from_ms)
    assert hits(followed) > hits(standing) + 0.1
    assert (followed.ranks_N[is_born] > 0).mean() > 0.7
    # Own items are left out, and a candidate is the worst rank that there is.
    assert 20 < followed.ranks_N.max() <= CANDIDATES
    assert followed.versions == 2


def hits(system: Contender) -> float:
    return float(((system.ranks_N > 0) & (system.ranks_N <= 20)).mean())


def test_every_system_is_measured_on_the_same_events_paired(frame: pd.DataFrame) -> None:
    log = study_log(frame, share=0.3)
    assert 0.2 < len(log.inputs_N) / len(study_log(frame).inputs_N) < 0.4
    systems = rank_baselines(log, exclude_session_items=True)
    systems += run_cadence(Trainer(log, CONFIG), Cadence("2h", 2 * HOUR_MS), [NONE, NONE])
    assert {len(system.ranks_N) for system in systems} == {len(log.inputs_N)}
    result = study_report(log, systems, rolling_h=2)
    assert [row.recall.mean for row in result.rows] == pytest.approx([hits(s) for s in systems])
    assert result.targets == len(log.inputs_N)
    assert {tuple(one.targets) for one in result.series} == {tuple(result.series[0].targets)}
    assert sum(result.series[0].targets) == result.targets
    assert result.series[2].recall == pytest.approx(result.rows[2].recall.mean)
    assert result.rows[3].recall_differences["2h"] == Interval(0, 0, 0), "the same draws for both"
    assert "Δ Recall@20" in markdown(result)
    rolled = result.series[2].rolling(2)
    hit_T, target_T = np.array(result.series[2].hits), np.array(result.series[2].targets)
    assert rolled[1] == pytest.approx(hit_T[:2].sum() / target_T[:2].sum())
    assert rolled[2] == pytest.approx(hit_T[1:3].sum() / target_T[1:3].sum())


@pytest.mark.parametrize(("from_h", "words"), [(-1, "learn from before"), (100, "to evaluate")])
def test_a_log_without_a_side_is_refused(frame: pd.DataFrame, from_h: float, words: str) -> None:
    with pytest.raises(NextclickError, match=words):
        study_log(frame, from_h=from_h)


def test_a_network_that_only_counts_has_no_cadence(log: StudyLog) -> None:
    with pytest.raises(NextclickError, match="is no network that learns"):
        Trainer(log, ModelConfig(network="pop"))
