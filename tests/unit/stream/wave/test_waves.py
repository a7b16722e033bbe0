import zlib
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stream.events import Event
from stream.sessions.offsets import PendingOffsets
from stream.sessions.watermark import NO_WATERMARK
from stream.wave.waves import Arrival, Wave, WaveCutter
from stream.worker.lanes import Lanes


def arrival(partition: int, offset: int, session: str | None, time_ms: int = 0) -> Arrival:
    event = None if session is None else Event(session, time_ms, "item")
    return Arrival(partition, offset, event, NO_WATERMARK, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, "a", "b", "c"])), max_size=60),
    st.integers(1, 8),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_waves_hold_a_session_once_keep_its_order_and_lose_nothing(
    log: list[tuple[int, str | None]], size: int, read_at_once: int, random: Random
) -> None:
    cutter = WaveCutter(size)
    pending_offsets = {number: PendingOffsets() for number in range(3)}
    in_states: dict[int, set[int]] = {number: set() for number in range(3)}
    under_way: list[Wave] = []
    offsets = {0: 0, 1: 0, 2: 0}
    arrivals = []
    for partition, session in log:
        name = None if session is None else f"{session}{partition}"
        arrivals.append(arrival(partition, offsets[partition], name))
        offsets[partition] += 1
    left = list(arrivals)
    taken: list[Arrival] = []
    while left or len(cutter):
        for one in left[:read_at_once]:
            cutter.add(one)
            pending_offsets[one.partition].add(one.offset, NO_WATERMARK, NO_WATERMARK)
        del left[:read_at_once]
        wave = cutter.cut()
        assert wave is not None
        assert 0 < len(wave.arrivals) <= size
        taken += wave.arrivals
        offered = arrivals[: len(arrivals) - len(left)]
        waiting = {a.event.session_id for a in offered if a.event and a not in taken}
        assert all(a.superseded == (a.event.session_id in waiting) for a in wave.arrivals if a.event)
        sessions = [a.event.session_id for a in wave.arrivals if a.event]
        assert len(sessions) == len(set(sessions))
        assert wave.partitions == {a.partition for a in wave.arrivals}
        under_way.append(wave)
        # Of waves that are stepped side by side any may be done first.
        for done in [w for w in under_way if random.random() < 0.5]:
            under_way.remove(done)
            for one in done.arrivals:
                in_states[one.partition].add(one.offset)
                pending_offsets[one.partition].finish([one.offset])
        for partition, pending in pending_offsets.items():
            position, _ = pending.finish([])
            assert in_states[partition] >= set(range(position))
            assert position not in in_states[partition]
            top = max(in_states[partition], default=-1) + 1
            assert set(pending.pending_below(top)) == set(range(top)) - in_states[partition]
    assert len(taken) == len(arrivals)
    for session in {a.event.session_id for a in arrivals if a.event}:
        order = [a.offset for a in taken if a.event and a.event.session_id == session]
        assert order == sorted(order)


def test_a_partition_of_a_producer_with_crc32_is_spread_over_the_lanes() -> None:
    lanes = Lanes(2, 64)
    sessions = [f"s{n}" for n in range(2_000)]
    for offset, session in enumerate(s for s in sessions if zlib.crc32(s.encode()) % 4 == 2):
        lanes.add(arrival(2, offset, session))
    assert min(len(lanes._cutters[0]), len(lanes._cutters[1])) > 0.4 * len(lanes)


@given(st.lists(st.sampled_from([None, *"abcdefgh"]), max_size=80), st.integers(1, 3), st.integers(1, 4))
def test_lanes_lose_nothing_and_keep_each_session_to_one_of_them(
    log: list[str | None], count: int, size: int
) -> None:
    lanes = Lanes(count, size)
    for offset, session in enumerate(log):
        lanes.add(arrival(0, offset, session))
    assert len(lanes) == len(log)
    lane_of: dict[str, int] = {}
    seen: list[int] = []
    for lane in range(count):
        while waves := lanes.cut(lane, 3):
            assert len(waves) <= 3
            for one in [a for wave in waves for a in wave.arrivals]:
                seen.append(one.offset)
                if one.event is not None:
                    assert lane_of.setdefault(one.event.session_id, lane) == lane
            assert {wave.lane for wave in waves} == {lane}
    assert sorted(seen) == list(range(len(log)))
    assert not len(lanes)


def test_a_busy_session_holds_nobody_else_up() -> None:
    cutter = WaveCutter(4)
    for offset in range(40):
        cutter.add(arrival(0, offset, "busy"))
    for offset in range(40, 46):
        cutter.add(arrival(0, offset, f"other{offset}"))
    first, second = cutter.cut(), cutter.cut()
    assert first is not None
    assert second is not None
    assert [a.offset for a in first.arrivals] == [0, 40, 41, 42]
    assert [a.offset for a in second.arrivals] == [1, 43, 44, 45]
