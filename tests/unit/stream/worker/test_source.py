from collections.abc import Callable
from types import SimpleNamespace

import pytest

from model.errors import NextclickError
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.worker.lanes import IDLE_POLL_S
from stream.worker.source import LOOKAHEAD_WAVES, Source
from tests.unit.stream.worker.fakes import Group, IdlePipeline, Record

DAY_S = 86_400
NOW_S = 1_700_000_000
Reasons = Callable[..., list[str]]


@pytest.fixture
def wall() -> list[float]:
    return [NOW_S]


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def pipeline() -> IdlePipeline:
    return IdlePipeline()


@pytest.fixture
def source(wall: list[float], group: Group, pipeline: IdlePipeline) -> Source:
    """One that has joined its group and has no partition yet."""

    def never(error: BaseException) -> None:
        raise error

    settings = Settings(bootstrap_servers="127.0.0.1:9", max_future_s=60, step_threads=2)
    made = Source(
        settings,
        pipeline,
        on_failure=never,
        wall_s=lambda: wall[0],
        make_consumer=lambda settings, on_commit: group.consumer,
    )
    made.join_group()
    return made


@pytest.fixture
def reasons(source: Source, group: Group, pipeline: IdlePipeline) -> Reasons:
    """Reads events of given times, in seconds; returns the reasons of the arrivals, "" for an event."""
    offset = 0

    def read(*event_times_s: float) -> list[str]:
        nonlocal offset
        if not offset:
            group.assign(0)
        group.records = [Record(offset + n, time_s) for n, time_s in enumerate(event_times_s)]
        offset += len(event_times_s)
        pipeline.emitted.clear()
        source.turn()
        arrivals = [arrival for wave in pipeline.emitted for arrival in wave.arrivals]
        return [arrival.reason for arrival in sorted(arrivals, key=lambda arrival: arrival.offset)]

    return read


def test_an_event_ahead_of_the_wall_is_rejected(reasons: Reasons) -> None:
    assert reasons(NOW_S, NOW_S + 59, NOW_S + 61) == ["", "", "future"]


def test_seconds_sent_as_milliseconds_are_rejected_as_past(reasons: Reasons, pipeline: IdlePipeline) -> None:
    assert reasons(NOW_S, NOW_S / 1000, 631_152_000, 631_151_999) == ["", "past", "", "past"]
    assert ("past", 2) in pipeline.faults


def test_a_wall_clock_that_is_set_back_rejects_nothing_of_the_present(
    reasons: Reasons, wall: list[float]
) -> None:
    assert reasons(NOW_S, NOW_S + 1) == ["", ""]
    wall[0] -= 365 * DAY_S
    assert reasons(NOW_S + 2, NOW_S + 3, NOW_S + 300) == ["", "", "future"]


def test_a_wall_clock_that_starts_behind_rejects_nothing_near_the_watermark(
    reasons: Reasons, wall: list[float], pipeline: IdlePipeline
) -> None:
    wall[0] = NOW_S - 365 * DAY_S
    pipeline.watermark = Watermark(NOW_S * 1000)
    assert reasons(NOW_S + 1, NOW_S + 61 + DAY_S) == ["", "future"]


def test_a_wall_clock_that_leaps_ahead_rejects_nothing(reasons: Reasons, wall: list[float]) -> None:
    wall[0] += 365 * DAY_S
    assert reasons(NOW_S, NOW_S + 1) == ["", ""]


@pytest.mark.parametrize(("position", "offsets"), [(0, []), (7, [7])])
def test_a_store_ahead_of_the_group_is_committed_on_assignment(
    source: Source, group: Group, pipeline: IdlePipeline, position: int, offsets: list[int]
) -> None:
    pipeline.durable = AppliedOffsets(position=position)
    group.assign(0)
    source.turn()
    assert [place.offset for commit in group.commits for place in commit] == offsets


def test_a_record_before_the_position_ends_the_worker(reasons: Reasons, group: Group, source: Source) -> None:
    assert reasons(NOW_S, NOW_S + 1) == ["", ""]
    group.records = [Record(0, NOW_S)]
    with pytest.raises(NextclickError, match="has a record at offset 0 after it was read up to 2"):
        source.turn()


def test_as_much_is_read_ahead_as_there_may_be_and_then_a_lane_has_to_step(
    source: Source, group: Group, pipeline: IdlePipeline
) -> None:
    group.assign(0)
    group.records = [Record(offset, NOW_S) for offset in range(2_000)]
    pipeline.queued_waves = [2, 2]
    ahead = LOOKAHEAD_WAVES * 64 * 2
    while source.waiting < ahead:
        source.turn()
    assert source.waiting == ahead
    assert pipeline.waited == []
    source.turn()
    assert source.waiting == ahead
    assert pipeline.waited == [([0, 1], IDLE_POLL_S)]
    assert pipeline.emitted == []


def test_an_idle_lane_waits_for_a_fuller_wave_where_events_come_densely_and_for_nothing_else(
    source: Source, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wait_s, records, waits in ((0.0, 3, 2), (0.4, 3, 3), (0.4, 0, 1)):
        group.records = [Record(offset, NOW_S) for offset in range(records)]
        group.waits_s.clear()
        # Asked again and again it would wait without end: the second time it is too late.
        clock = SimpleNamespace(monotonic=iter([0.0, 0.1, 0.4]).__next__)
        monkeypatch.setattr("stream.worker.source.time", clock)
        source._waves.controller.wait_s = wait_s
        assert len(source._read()) == records
        assert len(group.waits_s) == waits, wait_s
        assert group.waits_s[0] == IDLE_POLL_S
        if wait_s and records:
            assert group.waits_s[1] == pytest.approx(0.3)
