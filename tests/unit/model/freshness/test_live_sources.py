"""The same events come to a worker in a stream and to a study along a log; both learn the same of them."""

from typing import Any

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.freshness.log_refresher import LoggedEvents, LogRefresher
from model.freshness.moving_tables import FreshnessConfig
from model.freshness.recent_events import RecentEvents
from model.freshness.refresher import TableRefresher
from model.networks.by_name import build_fused
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import KEPT_ITEMS, LiveArrays
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper

KNOWN, ITEMS = 20, 30
TRAINED_MS = 4_000_000
CONFIG = ModelConfig(network="fused", hidden_size=4, prior_half_lives_s=(600.0,))
BOTH = FreshnessConfig(True, True, after_sessions=1)


@pytest.fixture
def log() -> Sessions:
    """Items are numbered by their first event; those from 20 on first come after the training."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(2, 7, 200)
    begins_ms = np.sort(rng.integers(0, 2 * TRAINED_MS, 200))
    times = [begin + 1_000 * np.arange(length) for begin, length in zip(begins_ms, lengths, strict=True)]
    items = [rng.integers(0, KNOWN if t[-1] < TRAINED_MS else ITEMS, len(t)) for t in times]
    return Sessions(
        np.r_[0, np.cumsum(lengths)],
        np.concatenate(items),
        np.concatenate(times),
        np.array([f"s{n}" for n in range(200)], object),
    )


def fused_list(log: Sessions) -> tuple[FusedList, Vocabulary]:
    counts = np.bincount(log.items[log.items < KNOWN], minlength=KNOWN)
    vocabulary = Vocabulary([f"i{n}" for n in range(KNOWN)], counts)
    torch.manual_seed(3)
    fused = build_fused(CONFIG, vocabulary)
    assert fused.network.prior is not None
    fused.network.prior.restart(TRAINED_MS)
    return fused, vocabulary


def followed(log: Sessions, *, restarted: bool = False) -> tuple[LiveArrays, list[Any], Stepper]:
    """What a worker with `follow` has learned of the log at its end, and its items by row."""
    fused, vocabulary = fused_list(log)
    model = ModelVersion("v1", CONFIG, vocabulary, fused)
    stepper, recent = Stepper(model, device="cpu"), RecentEvents(100_000)
    refresher = TableRefresher(model, stepper, BOTH, recent, room=50)
    names = [f"i{n}" for n in range(ITEMS)]
    order = np.argsort(log.times_ms, kind="stable")
    begins = np.repeat(log.offsets[:-1], log.lengths)
    end_ms = int(log.times_ms.max()) + 1
    now_ms = -1
    for row in order.tolist():
        if not restarted and log.times_ms[row] // 60_000 > now_ms // 60_000:
            now_ms = int(log.times_ms[row])
            refresher.refresh(now_ms)
        before = [names[item] for item in log.items[max(int(begins[row]), row - 5) : row]]
        session = str(log.session_ids[np.searchsorted(log.offsets, row, side="right") - 1])
        recent.add([(int(log.times_ms[row]), names[log.items[row]], before, session)])
    refresher.refresh(end_ms + 60_000)
    return fused.live, refresher.vocabulary.item_ids.tolist(), stepper


def by_name(live: LiveArrays, names: list[Any]) -> dict[tuple[str, str, str], float]:
    pairs = {}
    for item, row in enumerate(live.row_V.tolist()):
        for kind, items_RP, weights_RP in (
            ("next", live.next_items_RP, live.next_weights_RP),
            ("near", live.near_items_RP, live.near_weights_RP),
        ):
            if row >= 0:
                for other, weight in zip(items_RP[row].tolist(), weights_RP[row].tolist(), strict=True):
                    if other >= 0:
                        pairs[kind, names[item], names[other]] = weight * live.scale
    return pairs


def held(live: LiveArrays, names: list[Any]) -> list[list[str]]:
    """The items of the newest sessions by name, in the order in which the sessions began."""
    kept, sessions = live.sessions, []
    for number in range(kept.oldest, kept.end):
        begin = number % len(kept.lengths_S) * KEPT_ITEMS
        length = kept.lengths_S[number % len(kept.lengths_S)]
        sessions.append([names[item] for item in kept.items_P[begin : begin + length].tolist()])
    return sessions


def test_neighbours_are_the_sessions_since_the_training_whoever_reads_them(log: Sessions) -> None:
    """A worker minute by minute, one that starts again and has the log at once, and a study along it."""
    log = log.select(np.flatnonzero(np.maximum.reduceat(log.items, log.offsets[:-1]) < KNOWN))
    since = np.flatnonzero(log.times_ms[log.offsets[:-1]] >= TRAINED_MS)
    worker, names, _ = followed(log)
    kept = held(worker, names)
    assert len(kept) >= len(since) > 10
    for session in since:
        items = log.items[log.offsets[session] : log.offsets[session + 1]].tolist()
        distinct = [item for at, item in enumerate(items) if item not in items[at + 1 :]]
        assert [f"i{item}" for item in distinct] in kept
    again, names_again, _ = followed(log, restarted=True)
    assert held(again, names_again) == kept
    fused, _ = fused_list(log)
    study = LogRefresher(fused, KNOWN, KNOWN, LoggedEvents.of(log), TRAINED_MS, BOTH)
    assert held(fused.live, names) == []
    study.refresh(int(log.times_ms.max()) + 1)
    assert held(fused.live, names) == kept


def test_a_session_that_goes_on_over_a_training_keeps_what_came_before(log: Sessions) -> None:
    times_ms = TRAINED_MS + 1_000 * np.array([-2, -1, 0, 1])
    log = Sessions(np.array([0, 4]), np.array([3, 4, 5, 6]), times_ms, np.array(["s"], object))
    live, names, _ = followed(log)
    assert held(live, names) == [["i3", "i4", "i5", "i6"]]


def test_a_worker_learns_what_a_study_along_the_log_does(log: Sessions) -> None:
    # Only known items, of which neither waits to be listed.
    log = log.select(np.flatnonzero(np.maximum.reduceat(log.items, log.offsets[:-1]) < KNOWN))
    live, names, _ = followed(log)
    fused, _ = fused_list(log)
    end_ms = int(log.times_ms.max()) + 1 + 60_000
    study = LogRefresher(fused, KNOWN, KNOWN, LoggedEvents.of(log), TRAINED_MS, BOTH)
    study.refresh(end_ms)
    expected = by_name(fused.live, [f"i{n}" for n in range(KNOWN)])
    found = by_name(live, names)
    assert len(expected) > 100
    # A row that is full drops its lightest pair, which depends on when it was counted.
    both = expected.keys() & found.keys()
    assert len(both) > 0.9 * len(expected)
    heavy = {key for key in both if expected[key] > 1}
    assert heavy
    assert {key: found[key] for key in heavy} == pytest.approx({k: expected[k] for k in heavy}, rel=0.15)
    popular = [names[item] for item in live.popular_N[:5]]
    assert popular == [f"i{item}" for item in fused.live.popular_N[:5]]


def test_a_new_item_is_proposed_once_it_is_listed(log: Sessions) -> None:
    live, names, stepper = followed(log)
    listed = {name for name in names[KNOWN:] if name is not None}
    assert listed
    assert {names[item] for item in live.popular_N} & listed
    pairs = by_name(live, names)
    assert {other for _, _, other in pairs} & listed
    assert all(None not in key for key in pairs)
    rows = stepper.initial_rows(1)
    ids, _, _ = stepper.step({"item": np.array([3])}, rows)
    assert {names[item] for item in ids[0] if item >= 0} & listed


def test_a_worker_that_starts_again_learns_from_the_log_what_it_had(log: Sessions) -> None:
    log = log.select(np.flatnonzero(np.maximum.reduceat(log.items, log.offsets[:-1]) < KNOWN))
    live, names, _ = followed(log)
    again, names_again, _ = followed(log, restarted=True)
    found, found_again = by_name(live, names), by_name(again, names_again)
    assert found.keys() == found_again.keys()
    assert found_again == pytest.approx(found, rel=1e-3)
    # The counts of popularity begin elsewhere: with the events seen, or with the prior of the training.
    popular = [names[item] for item in live.popular_N[:5]]
    assert popular == [names_again[item] for item in again.popular_N[:5]]


def test_a_list_of_sources_that_stand_still_has_no_live_part(log: Sessions) -> None:
    fused, _ = fused_list(log)
    LogRefresher(fused, KNOWN, ITEMS, LoggedEvents.of(log), TRAINED_MS, BOTH)
    assert fused.follows
    LogRefresher(fused, KNOWN, ITEMS, LoggedEvents.of(log), TRAINED_MS, FreshnessConfig())
    assert not fused.follows
