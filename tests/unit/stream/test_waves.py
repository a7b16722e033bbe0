from hypothesis import given
from hypothesis import strategies as st

from stream.events import Event
from stream.watermark import NO_WATERMARK, Watermark
from stream.waves import Arrival, WaveCutter


def arrival(partition: int, offset: int, session: str | None, time_ms: int = 0) -> Arrival:
    event = None if session is None else Event(session, time_ms, "item")
    return Arrival(partition, offset, event, NO_WATERMARK, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, "a", "b", "c"])), max_size=60),
    st.integers(1, 8),
    st.integers(1, 9),
)
def test_waves_hold_a_session_once_keep_its_order_and_lose_nothing(
    log: list[tuple[int, str | None]], size: int, read_at_once: int
) -> None:
    cutter = WaveCutter(size)
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
            cutter.add(one, NO_WATERMARK)
        del left[:read_at_once]
        wave = cutter.cut()
        assert wave is not None
        assert 0 < len(wave.arrivals) <= size
        waiting = {
            a.event.session_id for a in arrivals[: len(arrivals) - len(left)] if a.event and not a.taken
        }
        assert all(a.superseded == (a.event.session_id in waiting) for a in wave.arrivals if a.event)
        sessions = [a.event.session_id for a in wave.arrivals if a.event]
        assert len(sessions) == len(set(sessions))
        taken += wave.arrivals
        for partition, (position, _) in wave.positions.items():
            done = {a.offset for a in taken if a.partition == partition}
            assert done >= set(range(position))
            assert position not in done
    assert len(taken) == len(arrivals)
    for session in {a.event.session_id for a in arrivals if a.event}:
        order = [a.offset for a in taken if a.event and a.event.session_id == session]
        assert order == sorted(order)


def test_the_watermark_of_a_wave_is_that_of_the_records_below_its_position() -> None:
    cutter = WaveCutter(8)
    for offset, (session, time_ms, before_ms) in enumerate([("a", 100, 0), ("a", 50, 100), ("b", 900, 100)]):
        one = arrival(0, offset, session, time_ms)
        one.watermark = Watermark(before_ms)
        cutter.add(one, Watermark(max(before_ms, time_ms)))
    first, second = cutter.cut(), cutter.cut()
    assert first is not None
    assert second is not None
    assert [a.offset for a in first.arrivals] == [0, 2]
    assert first.positions == {0: (1, Watermark(100))}
    assert second.positions == {0: (3, Watermark(900))}


def test_a_busy_session_holds_nobody_else_up() -> None:
    cutter = WaveCutter(4)
    for offset in range(40):
        cutter.add(arrival(0, offset, "busy"), NO_WATERMARK)
    for offset in range(40, 46):
        cutter.add(arrival(0, offset, f"other{offset}"), NO_WATERMARK)
    first, second = cutter.cut(), cutter.cut()
    assert first is not None
    assert second is not None
    assert [a.offset for a in first.arrivals] == [0, 40, 41, 42]
    assert [a.offset for a in second.arrivals] == [1, 43, 44, 45]
    assert first.positions[0][0] == 1
