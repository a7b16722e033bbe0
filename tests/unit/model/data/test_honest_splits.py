"""Over every split: no figure is of a sequence's own future, or of a row that no training has touched."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.comparison.compare import compare
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import (
    LogSplit,
    by_user,
    hold_out,
    shuffled_split,
    split_sessions,
    split_users,
    temporal_split,
)
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import rank_targets
from model.networks.baselines.pop import Pop
from model.training.job import TrainingJob

SPLITS = ("temporal", "shuffled", "user", "frame")


@st.composite
def logs(draw: st.DrawFn) -> pd.DataFrame:
    """Sessions of a few users, one after another in time; the newest items and users come late."""
    lengths = draw(st.lists(st.integers(1, 25), min_size=12, max_size=30))
    seed = draw(st.integers(0, 1_000))
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, str, int]] = []
    for number, length in enumerate(lengths):
        user = int(rng.integers(0, number // 2 + 1))
        for _ in range(length):
            item = int(rng.integers(0, 2 + number))
            rows.append((f"s{number}", f"u{user}", f"i{item}", len(rows) * 1_000))
    return pd.DataFrame(rows, columns=["session_id", "user_id", "item_id", "event_time_ms"])


def split_of(frame: pd.DataFrame, split: str) -> LogSplit:
    frame = by_user(frame) if split == "user" else frame
    rule = SessionRule(None if split == "user" else 1800)
    if split == "frame":
        earlier, later = temporal_split(frame, test_fraction=0.2)
        vocabulary = Vocabulary.from_frame(earlier, ("user_id",))
        training, test = (Sessions.from_frame(part, vocabulary, rule) for part in (earlier, later))
        return LogSplit(training, test, vocabulary)
    vocabulary = Vocabulary.from_frame(frame, ("user_id",))
    sessions = Sessions.from_frame(frame, vocabulary, rule)
    if split == "user":
        return split_users(sessions, vocabulary)
    if split == "shuffled":
        return shuffled_split(sessions, vocabulary, test_fraction=0.2, seed=1)
    return split_sessions(sessions, vocabulary, test_fraction=0.2)


def events_of(sessions: Sessions, only: Any = None) -> set[tuple[str, int]]:
    """Session and time of each event, or of the events at the mask `only`: no two events share a time."""
    ids = np.repeat(sessions.session_ids, sessions.lengths)
    kept = np.ones(len(ids), bool) if only is None else only
    return set(zip(ids[kept].tolist(), sessions.times_ms[kept].tolist(), strict=True))


def ranked(test: Sessions) -> tuple[Any, Any]:
    """Masks of the events that a figure is about, and of those that a network reads on the way there."""
    within = np.arange(len(test.items)) - np.repeat(test.offsets[:-1], test.lengths)
    is_target = test.counted & (test.items >= 0) & (within > 0)
    last = np.full(len(test), -1)
    owner = np.repeat(np.arange(len(test)), test.lengths)
    np.maximum.at(last, owner[is_target], within[is_target])
    return is_target, within < last[owner]


def reads_user(test: Sessions, is_read: Any) -> set[int]:
    return set(test.columns["user_id"][is_read].tolist()) - {-1}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(logs(), st.sampled_from(SPLITS), st.booleans())
def test_no_own_future_and_no_untrained_row_is_in_any_figure(
    frame: pd.DataFrame, split: str, stops_early: bool
) -> None:
    try:
        log = split_of(frame, split)
        config = ModelConfig(network="user-gru-linear", patience=1 if stops_early else None)
        job = TrainingJob.of(config, log)
        held = hold_out(log) if stops_early else None
    except NextclickError:
        return  # Too small to be split.
    seen = [(job.log, job.validation() if stops_early else None)]
    if held is not None:
        # As `compare` trains and ranks.
        seen.append((LogSplit(held.earlier, held.log.test, held.log.vocabulary), held.validation))
    for (training, test, vocabulary), validation in seen:
        is_target, is_read = ranked(test)
        targets = events_of(test, is_target)
        assert not targets & events_of(training), "a target was learned"
        ends = pd.Series(training.times_ms).groupby(np.repeat(training.session_ids, training.lengths)).max()
        for sequence, time_ms in targets:
            # What was learned of the same sequence, if any, came before.
            assert sequence not in ends.index or ends[sequence] < time_ms
        if validation is not None:
            assert not events_of(validation) & targets, "a target decides when training stops"
            if validation.is_target is not None:
                decisive = validation.is_target & (validation.items >= 0)
                assert not events_of(validation, decisive) & events_of(training)
        rows = set(training.items.tolist())
        assert set(test.items[is_target | (is_read & (test.items >= 0))].tolist()) <= rows, "untrained items"
        assert reads_user(test, is_read | is_target) <= set(training.columns["user_id"].tolist())
        assert len(vocabulary) == len(rows - {-1})
        scored = rank_targets(Pop(vocabulary), test).evaluation()
        owners = np.repeat(np.arange(len(test)), test.lengths)[is_target]
        assert scored.targets <= int(is_target.sum())
        assert scored.sessions <= len(set(owners.tolist()))


def users_frame() -> pd.DataFrame:
    """Ten users of twenty events each, one after another; the last one's own items come last."""
    rows = [(f"u{user}", f"i{n % 4}", user, n) for user in range(10) for n in range(20)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "user", "n"])
    frame["session_id"] = frame["user_id"]
    frame["event_time_ms"] = np.arange(len(frame)) * 1_000
    return frame


def test_compare_learns_from_every_user_that_it_tests_also_with_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[set[int]] = []

    def train(sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig, **given: Any) -> Any:
        assert given["validation"] is not None
        learned.append(set(sessions.columns["user_id"].tolist()))
        raise KeyboardInterrupt

    monkeypatch.setattr("model.comparison.compare.train", train)
    log = split_of(users_frame(), "user")
    with pytest.raises(KeyboardInterrupt):
        compare({"a": ModelConfig(network="user-gru-linear", patience=2)}, log, split="user")
    assert learned == [set(log.test.columns["user_id"].tolist())]
    assert len(learned[0]) == 10


def test_the_sessions_of_a_figure_are_those_with_a_target() -> None:
    """A user whose newest event is of an item that training has not seen has no target."""
    frame = users_frame()
    frame.loc[(frame["user"] < 3) & (frame["n"] == 19), "item_id"] = "unseen"
    log = split_of(frame, "user")
    assert len(log.test) == 10
    figures = rank_targets(Pop(log.vocabulary), log.test).evaluation()
    assert (figures.targets, figures.sessions, figures.unknown) == (7, 7, 3)
    compared = compare({"pop": ModelConfig(network="pop")}, log, split="user")
    assert (compared.targets, compared.sessions) == (7, 7)


def test_what_only_the_held_out_sessions_have_is_unknown_to_every_model_of_a_comparison() -> None:
    frame = pd.DataFrame(
        [
            (f"s{n}", "late" if n >= 16 and place == 1 else f"i{n % 3}", f"u{n}")
            for n in range(22)
            for place in range(3)
        ],
        columns=["session_id", "item_id", "user_id"],
    )
    frame["event_time_ms"] = np.arange(len(frame)) * 1_000
    log = split_of(frame, "temporal")
    assert "late" in log.vocabulary.index
    held = hold_out(log)
    assert "late" not in held.log.vocabulary.index
    assert (held.log.test.items == -1).sum() == len(held.log.test)
    assert (held.log.test.columns["user_id"] == -1).all()
    # Models that do not stop early learn from all sessions, and count them.
    assert len(held.log.training) == len(log.training)
    assert held.log.vocabulary.counts.sum() == log.vocabulary.counts.sum() - log.vocabulary.counts[-1]
