import time

from stream.sessions.offsets import PendingOffsets
from stream.sessions.watermark import Watermark
from stream.worker.assignment import Assignment, PartitionProgress
from tests.unit.stream.worker.fakes import Group


def progress(position: int, watermark: Watermark, end: int, last_read_s: float) -> PartitionProgress:
    return PartitionProgress(PendingOffsets(), position, watermark, end, last_read_s)


def test_without_traffic_event_time_goes_on_with_the_wall_and_not_while_records_wait() -> None:
    assignment = Assignment("events", Group().consumer)
    silent_since_s = time.monotonic() - 100
    assignment.progress = {
        0: progress(5, Watermark(1_000), 5, silent_since_s),
        1: progress(5, Watermark(1_000), 6, silent_since_s),
        2: progress(5, Watermark(), 5, silent_since_s),
        3: progress(5, Watermark(1_000), 5, time.monotonic()),
    }
    moved = assignment.move_idle_watermarks(60)
    assert moved == {0}
    position, watermark = assignment.progress[0].pending.finish([])
    assert position == 5
    assert 101_000 <= watermark.ms < 111_000
    assert assignment.move_idle_watermarks(60) == set()
