import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from stream.events import Event, encode_event
from stream.sessions.offsets import PendingOffsets
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.wave.waves import Wave
from stream.worker.assignment import PartitionProgress
from stream.worker.source import IDLE_POLL_S, WAVES_AT_ONCE, Source

DAY_S = 86_400
NOW_S = 1_700_000_000


class Record:
    """A message as confluent-kafka gives it."""

    def __init__(self, offset: int, event_time_s: float, session_id: str = "") -> None:
        self._offset = offset
        self._value = encode_event(Event(session_id or f"s{offset}", int(event_time_s * 1000), "i"))

    def error(self) -> KafkaError | None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes:
        return self._value


def reading(position: int, watermark: Watermark, end: int, newest_s: float) -> PartitionProgress:
    return PartitionProgress(PendingOffsets(), position, watermark, end, newest_s)


@pytest.fixture
def wall() -> list[float]:
    return [NOW_S]


@pytest.fixture
def source(wall: list[float]) -> Iterator[Source]:
    def never(*_: object) -> None:
        raise AssertionError

    made = Source(
        Settings(bootstrap_servers="127.0.0.1:9", max_future_s=60, step_threads=2),
        emit=never,
        wait_idle=never,
        to_step=lambda: [0, 0],
        wait_for_lane=never,
        open_partition=never,  # type: ignore[arg-type]
        close_partition=never,  # type: ignore[arg-type]
        on_read=lambda counts: None,
        on_failure=never,
        wall_s=lambda: wall[0],
    )
    made._assignment.readings[0] = reading(0, Watermark(), 100, 0.0)
    yield made
    made._consumer.close()


def reasons(source: Source, *event_times_s: float) -> list[str]:
    start = source._assignment.readings[0].position
    source._take([Record(start + n, time_s) for n, time_s in enumerate(event_times_s)])  # type: ignore[misc]
    found: list[tuple[int, str]] = []
    for lane in range(2):
        while waves := source._lanes.cut(lane, 1):
            found += [(arrival.offset, arrival.reason) for arrival in waves[0].arrivals]
    return [reason for _, reason in sorted(found)]


def test_an_event_ahead_of_the_wall_is_rejected(source: Source) -> None:
    assert reasons(source, NOW_S, NOW_S + 59, NOW_S + 61) == ["", "", "future"]


def test_a_wall_clock_that_is_set_back_rejects_nothing_of_the_present(
    source: Source, wall: list[float]
) -> None:
    assert reasons(source, NOW_S, NOW_S + 1) == ["", ""]
    wall[0] -= 365 * DAY_S
    assert reasons(source, NOW_S + 2, NOW_S + 3, NOW_S + 300) == ["", "", "future"]


def test_a_wall_clock_that_starts_behind_rejects_nothing_near_the_watermark(
    source: Source, wall: list[float]
) -> None:
    wall[0] = NOW_S - 365 * DAY_S
    source._assignment.readings[0].watermark = Watermark(NOW_S * 1000)
    assert reasons(source, NOW_S + 1, NOW_S + 61 + DAY_S) == ["", "future"]


def test_a_wall_clock_that_leaps_ahead_rejects_nothing(source: Source, wall: list[float]) -> None:
    wall[0] += 365 * DAY_S
    assert reasons(source, NOW_S, NOW_S + 1) == ["", ""]


def test_without_traffic_event_time_goes_on_with_the_wall_and_not_while_records_wait(source: Source) -> None:
    assignment = source._assignment
    silent_since_s = time.monotonic() - 100
    assignment.readings = {
        0: reading(5, Watermark(1_000), 5, silent_since_s),
        1: reading(5, Watermark(1_000), 6, silent_since_s),
        2: reading(5, Watermark(), 5, silent_since_s),
        3: reading(5, Watermark(1_000), 5, time.monotonic()),
    }
    moved = assignment.move_idle_watermarks(60)
    assert moved == {0}
    position, watermark = assignment.readings[0].pending.finish([])
    assert position == 5
    assert 101_000 <= watermark.ms < 111_000
    assert assignment.move_idle_watermarks(60) == set()


def test_a_lane_with_enough_to_step_holds_up_no_other(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[Wave] = []
    waited: list[tuple[list[int], float]] = []
    monkeypatch.setattr(source, "_emit", emitted.extend)
    monkeypatch.setattr(source, "_to_step", lambda: [2, 1])
    monkeypatch.setattr(source, "_wait_for_lane", lambda lanes, wait_s: waited.append((lanes, wait_s)))
    source._take([Record(offset, NOW_S) for offset in range(1_500)])  # type: ignore[misc]
    waiting = len(source._lanes._cutters[0])
    assert waiting > 500
    source._emit_waves()
    assert {wave.lane for wave in emitted} == {1}
    assert len(emitted) == WAVES_AT_ONCE
    assert len(source._lanes._cutters[0]) == waiting
    assert source.waiting == 1_500 - WAVES_AT_ONCE * 64
    # As much is read ahead as there may be: before more is read, a lane has to step.
    assert source._read() == []
    assert waited == [([0, 1], IDLE_POLL_S)]


class Consumption:
    """A consumer that has so many records; notes for how long it was to wait."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.waits_s: list[float] = []

    def consume(self, most: int, timeout: float) -> list[Record]:
        self.waits_s.append(timeout)
        given = min(most, self.records)
        self.records -= given
        return [Record(offset, NOW_S) for offset in range(given)]


def test_an_idle_lane_waits_for_a_fuller_wave_where_events_come_densely_and_for_nothing_else(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wait_s, records, waits in ((0.0, 3, 2), (0.4, 3, 3), (0.4, 0, 1)):
        consumption = Consumption(records)
        monkeypatch.setattr(source, "_consumer", consumption)
        # Asked again and again it would wait without end: the second time it is too late.
        clock = SimpleNamespace(monotonic=iter([0.0, 0.1, 0.4]).__next__)
        monkeypatch.setattr("stream.worker.source.time", clock)
        source._filling.wait_s = wait_s
        assert len(source._read()) == records
        assert len(consumption.waits_s) == waits, wait_s
        assert consumption.waits_s[0] == IDLE_POLL_S
        if wait_s and records:
            assert consumption.waits_s[1] == pytest.approx(0.3)


def test_a_session_changes_its_lane_only_when_nothing_of_it_is_under_way(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[Wave] = []
    all_written: list[int] = []
    monkeypatch.setattr(source, "_emit", emitted.extend)
    monkeypatch.setattr(source, "_wait_for_lane", lambda lanes, wait_s: None)
    monkeypatch.setattr(source, "_wait_idle", lambda: all_written.append(len(emitted)))
    for turn, lanes in enumerate((2, 1, 1, 2, 2, 1)):
        source._filling.lanes = lanes
        source._fit_lanes()
        assert source._lanes.open == lanes
        offsets = range(100 * turn, 100 * turn + 100)
        source._take([Record(offset, NOW_S, f"s{offset % 23}") for offset in offsets])  # type: ignore[misc]
        source._emit_waves()
    source._finish()
    # At each of the three changes, and at the end, nothing waits.
    assert len(all_written) == 4
    assert source.waiting == 0
    order: dict[str, list[tuple[int, int, int]]] = {}
    for place, wave in enumerate(emitted):
        for arrival in wave.arrivals:
            assert arrival.event is not None
            order.setdefault(arrival.event.session_id, []).append((arrival.offset, wave.lane, place))
    assert sum(map(len, order.values())) == 600
    assert any(len({lane for _, lane, _ in events}) == 2 for events in order.values())
    for events in order.values():
        assert [offset for offset, _, _ in events] == sorted(offset for offset, _, _ in events)
        for (_, lane, place), (_, next_lane, next_place) in itertools.pairwise(events):
            assert lane == next_lane or any(place < at <= next_place for at in all_written)
