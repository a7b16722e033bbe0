import threading
from itertools import pairwise

import numpy as np

from model.data.co_clicks import NEAR, CoClicks
from model.data.sessions import Sessions
from model.freshness.recent_events import NewEvents, RecentEvents


def as_added(new: NewEvents) -> list[tuple[int, str, list[str]]]:
    """Events with their session's items before them, the oldest first."""
    rows = new.rows
    return [
        (int(time_ms), new.ids[item], [new.ids[n] for n in near[::-1] if n >= 0])
        for time_ms, item, near in zip(rows.times_ms_N, rows.items_N, rows.near_NC, strict=True)
    ]


def test_every_reader_gets_each_event_since_its_position_once() -> None:
    recent = RecentEvents(1_000)
    before = [f"b{n}" for n in range(NEAR + 3)]
    recent.add([(1, "a", [], "s"), (2, "b", ["a"], "s")])
    first = recent.since(0)
    recent.add([(3, "c", before, "t")])
    assert as_added(first) == [(1, "a", []), (2, "b", ["a"])]
    assert as_added(recent.since(first.end)) == [(3, "c", before[3:])]
    assert as_added(recent.since(0)) == [(1, "a", []), (2, "b", ["a"]), (3, "c", before[3:])]
    assert as_added(recent.since(1)) == [(2, "b", ["a"]), (3, "c", before[3:])]
    assert as_added(recent.since(3)) == []


def test_events_of_one_session_have_one_key_and_those_without_an_id_have_none() -> None:
    recent = RecentEvents(1_000)
    recent.add([(1, "a", [], "s"), (2, "b", [], "t"), (3, "c", ["a"], "s"), (4, "d", [], "")])
    first, second, third, fourth = recent.since(0).rows.sessions_N.tolist()
    assert first == third != second
    assert fourth == -1 < min(first, second)
    assert recent.since(0).rows.begins_N.tolist() == [True, True, False, True]
    # Read again from the log, a session is the same one.
    log = Sessions(np.array([0, 1]), np.array([0]), np.array([5]), np.array(["s"], object))
    recent.add_sessions(log, ["a"])
    assert recent.since(4).rows.sessions_N.tolist() == [first]


def test_the_oldest_leave_and_their_ids_with_them() -> None:
    recent = RecentEvents(1_000)
    numberings = set()
    for n in range(50):
        recent.add([(1_000 * n + m, f"junk-{n}-{m}", ["i1"], f"{n}-{m}") for m in range(100)])
        new = recent.since(0)
        assert len(new.rows) <= 1_100
        assert len(new.ids) <= 2_101
        assert as_added(new)[-1] == (1_000 * n + 99, f"junk-{n}-99", ["i1"])
        numberings.add(new.numbering)
    assert len(numberings) > 1
    assert len(new.rows) >= 1_000


def test_threads_lose_nothing() -> None:
    recent = RecentEvents(100_000)

    def add(thread: int) -> None:
        for n in range(1_000):
            recent.add([(n, f"{thread}-{n}", [], f"{thread}")])

    threads = [threading.Thread(target=add, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    found: list[str] = []
    place = 0
    while any(thread.is_alive() for thread in threads) or len(found) < 3_000:
        new = recent.since(place)
        place = new.end
        found += [item for _, item, _ in as_added(new)]
    assert sorted(found) == sorted(f"{thread}-{n}" for thread in range(3) for n in range(1_000))


def test_whole_sessions_give_the_same_neighbours_as_co_clicks() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 12, 40)
    offsets = np.r_[0, np.cumsum(lengths)]
    items = rng.integers(0, 30, offsets[-1])
    times_ms = rng.permutation(int(offsets[-1]))
    for begin, end in pairwise(offsets):
        times_ms[begin:end].sort()
    sessions = Sessions(offsets, items, times_ms, np.arange(40))
    recent = RecentEvents(10_000)
    recent.add_sessions(sessions, [f"i{n}" for n in range(30)])
    pairs = sorted(
        pair
        for _, item, before in as_added(recent.since(0))
        for other in before
        if other != item
        for pair in ((item, other), (other, item))
    )
    co_clicks = CoClicks.of(sessions)
    expected = sorted(
        (f"i{item}", f"i{other}") for item, other in zip(co_clicks.items, co_clicks.neighbours, strict=True)
    )
    assert pairs == expected
