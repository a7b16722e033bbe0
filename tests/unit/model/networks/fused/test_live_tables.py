from collections import defaultdict

import numpy as np
import pytest

from model.data.sessions import RECENT_ITEMS
from model.networks.fused.candidates import gather
from model.networks.fused.live_tables import (
    FIRST_ROWS,
    HALF_LIFE_MS,
    PAIRS,
    REBASE_HALF_LIVES,
    STANDING,
    LiveTables,
    live_data,
)
from model.networks.fused.source_arrays import LiveArrays
from model.networks.fused.source_tables import SourceTables

NO_NEAR = [-1] * 5


def learned(items: int, *batches: tuple[list[int], list[list[int]], list[int], int]) -> LiveTables:
    tables = LiveTables(items)
    for events, near, times_ms, now_ms in batches:
        tables.learn(np.array(events), np.array(near).reshape(-1, 5), np.array(times_ms), now_ms)
    return tables


def pairs(live: LiveArrays, item: int, kind: str = "next") -> dict[int, float]:
    row = live.row_V[item]
    items_P = getattr(live, f"{kind}_items_RP")[row]
    weights_P = getattr(live, f"{kind}_weights_RP")[row]
    return {int(i): float(w) * live.scale for i, w in zip(items_P, weights_P, strict=True) if i >= 0}


def test_pairs_are_the_decayed_counts_of_a_naive_recomputation() -> None:
    rng = np.random.default_rng(2)
    # Fewer items than a row has places, so nothing is dropped.
    items, events = 12, 400
    events_N = rng.integers(0, items, events)
    near_NC = rng.integers(-1, items, (events, 5))
    times_ms = np.sort(rng.integers(0, 2 * HALF_LIFE_MS, events))
    tables = LiveTables(items)
    for part in np.array_split(np.arange(events), 7):
        tables.learn(events_N[part], near_NC[part], times_ms[part], int(times_ms[part[-1]]))
    live = tables.arrays(np.zeros(items), np.ones(items, bool))
    now_ms = int(times_ms[-1])
    next_: dict[tuple[int, int], float] = defaultdict(float)
    near: dict[tuple[int, int], float] = defaultdict(float)
    totals: dict[int, float] = defaultdict(float)
    for item, before_C, time_ms in zip(events_N.tolist(), near_NC.tolist(), times_ms.tolist(), strict=True):
        weight = 0.5 ** ((now_ms - time_ms) / HALF_LIFE_MS)
        if before_C[0] not in (-1, item):
            next_[before_C[0], item] += weight
            totals[before_C[0]] += weight
        for place, other in enumerate(before_C, 1):
            if other not in (-1, item):
                near[other, item] += weight / place
                near[item, other] += 0.5 * weight / place
    for first in range(items):
        for kind, expected in (("next", next_), ("near", near)):
            wanted = {second: weight for (one, second), weight in expected.items() if one == first}
            assert pairs(live, first, kind) == pytest.approx(wanted, rel=1e-4)
        assert live.next_totals_R[live.row_V[first]] * live.scale == pytest.approx(totals[first], rel=1e-4)


def test_a_new_pair_takes_the_place_of_the_lightest() -> None:
    others = list(range(1, PAIRS + 1))
    # Each other item follows item 0 twice, the last one once; then a new one comes.
    following = [*others, *others[:-1], PAIRS + 1]
    tables = learned(40, (following, [[0, -1, -1, -1, -1]] * len(following), [0] * len(following), 0))
    found = pairs(tables.arrays(np.zeros(40), np.ones(40, bool)), 0)
    assert found == {**dict.fromkeys(others[:-1], 2), PAIRS + 1: 1}


def test_rows_of_items_that_have_faded_are_given_to_others() -> None:
    first, second = np.arange(0, FIRST_ROWS, 2), np.arange(FIRST_ROWS, 2 * FIRST_ROWS, 2)
    tables = LiveTables(4 * FIRST_ROWS)
    near = np.array([-1] * 5)
    for items, now_ms in ((first, 0), (second, 20 * HALF_LIFE_MS)):
        for item in items:
            near[0] = item + 1
            tables.learn(np.array([item]), near[None], np.array([now_ms]), now_ms)
    live = tables.arrays(np.zeros(4 * FIRST_ROWS), np.ones(4 * FIRST_ROWS, bool))
    assert len(live.next_totals_R) == FIRST_ROWS
    assert (live.row_V[first] == -1).all()
    for item in second:
        assert pairs(live, int(item) + 1) == {int(item): pytest.approx(1)}
    # Rows that have not faded stay, and there are more of them.
    more = np.arange(2 * FIRST_ROWS, 3 * FIRST_ROWS)
    tables.learn(more, np.full((len(more), 5), -1), np.full(len(more), now_ms), now_ms)
    live = tables.arrays(np.zeros(4 * FIRST_ROWS), np.ones(4 * FIRST_ROWS, bool))
    assert len(live.next_totals_R) == 2 * FIRST_ROWS
    assert pairs(live, int(second[0]) + 1) == {int(second[0]): pytest.approx(1)}


def test_weights_stay_finite_over_years() -> None:
    one_after_zero = [1], [[0, -1, -1, -1, -1]]
    times = [int(number * REBASE_HALF_LIVES / 2 * HALF_LIFE_MS) for number in range(12)]
    tables = learned(2, *((*one_after_zero, [time_ms], time_ms) for time_ms in times))
    live = tables.arrays(np.zeros(2), np.ones(2, bool))
    assert np.isfinite(live.next_weights_RP).all()
    assert pairs(live, 0) == {1: pytest.approx(1, rel=1e-3)}


def test_a_source_without_events_has_no_data() -> None:
    assert not any(live_data(STANDING).values())
    tables = learned(3, ([0], [NO_NEAR], [0], 0))
    live = tables.arrays(np.array([2.0, 5.0, 1.0]), np.array([True, False, True]))
    # An item that is not listed is not popular.
    assert live.popular_N.tolist() == [0, 2]
    assert live_data(live) == {"next items now": False, "near items now": False, "popular now": True}


def test_pairs_that_faded_to_nothing_give_no_feature() -> None:
    """A weight of 0 of a total of 0 would be no number, and sorted first."""
    months_ms = int(400 * HALF_LIFE_MS)
    tables = learned(4, ([1], [[0, *NO_NEAR[1:]]], [1_000], 1_000), ([2], [NO_NEAR], [months_ms], months_ms))
    live = tables.arrays(np.ones(4), np.ones(4, bool))
    row = live.row_V[0]
    assert row < 0 or live.next_totals_R[row] == 0
    network_ids, network_scores = np.array([[3]]), np.zeros((1, 1), np.float32)
    recent_BR = np.full((1, RECENT_ITEMS), -1, np.int32)
    recent_BR[0, 0] = 0
    standing = SourceTables(4).arrays()
    _, features_BCF, count_B = gather(recent_BR, network_ids, network_scores, standing, live, 100, 100)
    assert np.isfinite(features_BCF[0, : count_B[0]]).all()
