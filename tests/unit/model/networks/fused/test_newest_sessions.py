from collections import OrderedDict

import numpy as np
import numpy.typing as npt
import pytest

from model.data.sessions import RECENT_ITEMS, Sessions
from model.networks.fused.candidates import gather
from model.networks.fused.live_tables import STANDING
from model.networks.fused.newest_sessions import FIRST_SLOTS, KEPT_SESSIONS, NewestSessions
from model.networks.fused.source_arrays import (
    KEPT_ITEMS,
    NEIGHBOURS_ORDER,
    NEIGHBOURS_SHARE,
    NEIGHBOURS_SIMILARITY,
    LiveArrays,
    RecentSessions,
)
from model.networks.fused.source_tables import SourceTables

# But the rank, which goes by the share: items of the same share may change places.
NEIGHBOURS = (NEIGHBOURS_SHARE, NEIGHBOURS_ORDER, NEIGHBOURS_SIMILARITY)
Event = tuple[int, bool, int]


def learn(newest: NewestSessions, events: list[Event], batch: int = 1_000, near: int = 5) -> None:
    """Events of (session, begins, item), each with its session's items before it, as a worker adds them."""
    before: dict[int, list[int]] = {}
    near_NC = np.full((len(events), 5), -1)
    for n, (session, begins, item) in enumerate(events):
        if begins:
            before[session] = []
        newest_first = before.setdefault(session, [])[: -near - 1 : -1] if near else []
        near_NC[n, : len(newest_first)] = newest_first
        before[session].append(item)
    keys_N, begins_N, items_N = (np.array(column) for column in zip(*events, strict=True))
    for start in range(0, len(events), batch):
        part = slice(start, start + batch)
        newest.learn(keys_N[part], begins_N[part].astype(bool), items_N[part], near_NC[part])


def sessions_of(recent: RecentSessions) -> list[list[int]]:
    """The items of each kept session, the oldest session first."""
    found = []
    for number in range(recent.oldest, recent.end):
        slot = number % len(recent.lengths_S)
        begin = slot * KEPT_ITEMS
        found.append(recent.items_P[begin : begin + recent.lengths_S[slot]].tolist())
    return found


def holders(recent: RecentSessions, item: int) -> list[int]:
    """The numbers of the sessions with an item, the newest event first."""
    slots, found, place = len(recent.lengths_S), [], int(recent.newest_V[item])
    while place >= 0:
        assert recent.items_P[place] == item
        found.append((place // KEPT_ITEMS - recent.oldest) % slots + recent.oldest)
        place = int(recent.older_P[place])
    return found


def kept_naively(events: list[Event], most: int) -> tuple[list[list[int]], dict[int, list[int]]]:
    """What is kept by definition: the sessions' items, and by item who holds it, the newest event first."""
    sessions: list[OrderedDict[int, int]] = []
    number: dict[int, int] = {}
    gone = 0
    for at, (session, begins, item) in enumerate(events):
        if begins or session not in number or number[session] < gone:
            number[session] = len(sessions)
            sessions.append(OrderedDict())
            gone = max(gone, len(sessions) - most)
        items = sessions[number[session]]
        items.pop(item, None)
        items[item] = at
        if len(items) > KEPT_ITEMS:
            items.popitem(last=False)
    by_item: dict[int, list[tuple[int, int]]] = {}
    for held, items in enumerate(sessions[gone:], gone):
        for item, at in items.items():
            by_item.setdefault(item, []).append((at, held))
    chains = {item: [held for _, held in sorted(found, reverse=True)] for item, found in by_item.items()}
    return [list(items) for items in sessions[gone:]], chains


def events_at_random(rng: np.random.Generator, events: int, sessions: int, items: int) -> list[Event]:
    """Interleaved sessions, some of which begin again; a session's first event begins it."""
    seen: set[int] = set()
    made = []
    for _ in range(events):
        session = int(rng.integers(sessions))
        made.append((session, session not in seen or rng.random() < 0.05, int(rng.integers(items))))
        seen.add(session)
    return made


@pytest.mark.parametrize("batch", [1, 7, 10_000])
@pytest.mark.parametrize(("most", "sessions", "items"), [(40, 90, 30), (3, 5, 60), (10_000, 900, 8)])
def test_what_is_kept_is_what_a_naive_recomputation_keeps(
    most: int, sessions: int, items: int, batch: int
) -> None:
    events = events_at_random(np.random.default_rng(most), 4_000, sessions, items)
    newest = NewestSessions(items, most)
    # Without the items before it, a session that has left and comes again begins with its event.
    learn(newest, events, batch, near=0)
    recent = newest.arrays()
    expected, chains = kept_naively(events, most)
    assert sessions_of(recent) == expected
    assert {item: held for item in range(items) if (held := holders(recent, item))} == chains


def test_memory_is_bounded_however_many_sessions_come() -> None:
    newest = NewestSessions(50_000)
    rng = np.random.default_rng(1)
    nothing_NC = np.full((30_000, 5), -1)
    for round_ in range(5):
        keys_N = np.arange(30_000) + 30_000 * round_
        newest.learn(keys_N, np.ones(30_000, bool), rng.integers(0, 50_000, 30_000), nothing_NC)
    recent = newest.arrays()
    assert recent.end - recent.oldest == KEPT_SESSIONS
    assert len(recent.lengths_S) == KEPT_SESSIONS
    assert newest.nbytes - recent.newest_V.nbytes < 8_000_000
    assert NewestSessions(1_000).nbytes < 100_000


def test_a_session_that_is_not_kept_begins_with_what_came_before() -> None:
    newest = NewestSessions(40)
    near_NC = np.array([[3, 2, -1, 1, -1], [4, 3, 2, -1, 1]])
    newest.learn(np.array([9, 9]), np.zeros(2, bool), np.array([4, 5]), near_NC)
    assert sessions_of(newest.arrays()) == [[1, 2, 3, 4, 5]]


def test_an_event_without_a_session_or_an_item_is_left_out() -> None:
    newest = NewestSessions(4)
    near_NC = np.full((4, 5), -1)
    keys_N, begins_N = np.array([-1, 7, 7, 7]), np.array([True, True, False, True])
    newest.learn(keys_N, begins_N, np.array([0, 1, -1, -1]), near_NC)
    # The last event begins a session, of which there is nothing yet.
    assert sessions_of(newest.arrays()) == [[1]]
    newest.learn(np.array([7]), np.array([False]), np.array([2]), np.array([[-1, -1, -1, -1, -1]]))
    assert sessions_of(newest.arrays()) == [[1], [2]]


def sessions_at(log: list[list[int]]) -> Sessions:
    items = np.array([item for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    ids = np.array([f"s{n}" for n in range(len(log))], object)
    return Sessions(offsets, items, np.arange(len(items)) * 1_000, ids)


def neighbours_of(
    tables: SourceTables, live: LiveArrays, session: list[int], neighbours: int, sampled: int
) -> dict[int, npt.NDArray[np.float32]]:
    """The features that neighbours give, by item."""
    recent_BR = np.full((1, RECENT_ITEMS), -1, np.int32)
    recent_BR[0, : len(session)] = session[::-1]
    network_ids, network_scores = np.full((1, 1), -1, np.int64), np.zeros((1, 1), np.float32)
    ids_BC, features_BCF, count_B = gather(
        recent_BR, network_ids, network_scores, tables.arrays(), live, neighbours, sampled
    )
    return {
        int(ids_BC[0, place]): features_BCF[0, place, list(NEIGHBOURS)]
        for place in range(count_B[0])
        if features_BCF[0, place, NEIGHBOURS_SHARE] > 0
    }


@pytest.mark.parametrize(("neighbours", "sampled"), [(500, 20), (12, 20), (500, 9)])
def test_neighbours_that_came_since_count_as_those_of_a_training_do(neighbours: int, sampled: int) -> None:
    rng = np.random.default_rng(8)
    items = 25
    log = [rng.permutation(items)[: rng.integers(6, 12)].tolist() for _ in range(300)]
    whole, earlier = SourceTables(items), SourceTables(items)
    whole.fit(sessions_at(log))
    earlier.fit(sessions_at(log[:180]))
    newest = NewestSessions(items)
    learn(newest, [(n, at == 0, item) for n, one in enumerate(log[180:]) for at, item in enumerate(one)])
    followed = STANDING._replace(sessions=newest.arrays())
    differ = 0
    for _ in range(20):
        # No session of the log has only items of this one: a recent one would have nothing to propose.
        session = rng.permutation(items)[: rng.integers(1, 6)].tolist()
        expected = neighbours_of(whole, STANDING, session, neighbours, sampled)
        found = neighbours_of(earlier, followed, session, neighbours, sampled)
        # Up to 20 of an item's sessions the newest are the same, whichever way they came.
        assert expected.keys() == found.keys()
        for item, features in expected.items():
            assert found[item] == pytest.approx(features, rel=1e-5)
        alone = neighbours_of(earlier, STANDING, session, neighbours, sampled)
        differ += alone.keys() != expected.keys() or any(
            (alone[item] != features).any() for item, features in expected.items()
        )
    assert differ > 3


def test_a_session_is_no_neighbour_of_itself() -> None:
    tables = SourceTables(10)
    tables.fit(sessions_at([[0, 1], [1, 2]]))
    newest = NewestSessions(10)
    learn(newest, [(1, True, 5), (1, False, 6), (1, False, 7)])
    followed = STANDING._replace(sessions=newest.arrays())
    assert neighbours_of(tables, followed, [5, 6, 7], 100, 100) == {}
    assert set(neighbours_of(tables, followed, [5, 6], 100, 100)) == {5, 6, 7}


def test_an_item_born_since_finds_its_neighbours_and_is_proposed_by_them() -> None:
    tables = SourceTables(4)
    tables.fit(sessions_at([[0, 1], [1, 2]]))
    newest = NewestSessions(9)
    learn(newest, [(1, True, 8), (1, False, 3), (2, True, 0), (2, False, 8)])
    followed = STANDING._replace(sessions=newest.arrays())
    assert set(neighbours_of(tables, followed, [8], 100, 100)) == {0, 3, 8}
    assert 8 in neighbours_of(tables, followed, [3], 100, 100)


def test_slots_grow_to_what_is_kept_and_what_is_there_stays() -> None:
    events = events_at_random(np.random.default_rng(5), 3 * FIRST_SLOTS, 2 * FIRST_SLOTS, 20)
    newest = NewestSessions(20, 2 * FIRST_SLOTS)
    assert len(newest.arrays().lengths_S) == FIRST_SLOTS
    learn(newest, events, batch=50, near=0)
    assert len(newest.arrays().lengths_S) == 2 * FIRST_SLOTS
    assert sessions_of(newest.arrays()) == kept_naively(events, 2 * FIRST_SLOTS)[0]
