import logging
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.sessions.offsets import AppliedOffsets, PendingOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.worker.assignment import Assignment, PartitionProgress, wait_for_a_broker
from tests.unit.stream.worker.fakes import Group


def progress(position: int, watermark: Watermark, end: int, last_read_s: float) -> PartitionProgress:
    return PartitionProgress(PendingOffsets(), position, watermark, end, last_read_s)


def test_without_traffic_event_time_goes_on_with_the_wall_and_not_while_records_wait() -> None:
    assignment = Assignment("events", Group().consumer, lambda number, events: None)
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


def test_records_wait_from_the_newest_list_on_and_none_waits_where_all_have_theirs() -> None:
    ends = SimpleNamespace(get_watermark_offsets=lambda *_, **__: (0, 9))
    assignment = Assignment("events", cast(Any, ends), lambda number, events: None)
    at = assignment.progress[0] = progress(9, Watermark(1_000), 9, 0.0)
    # Nine records are read, and five have their lists: the other four wait since then.
    at.durable, at.moved_s = 5, time.monotonic() - 100
    assignment.measure_lag()
    assert at.lag == 0 and at.waits and at.wait_s >= 100
    # An older offset is no new list, nor is one of a partition that went elsewhere.
    assignment.written({0: AppliedOffsets(position=4), 7: AppliedOffsets(position=1)})
    assert at.durable == 5 and at.wait_s >= 100
    assignment.written({0: AppliedOffsets(position=9)})
    assert at.wait_s == 0.0
    # Time without events is no wait: one begins with the next record.
    at.moved_s = long_ago_s = time.monotonic() - 100
    assignment.measure_lag()
    assert at.moved_s > long_ago_s
    at.position = 10
    assert at.waits


class Log(Group):
    """A consumer of one partition with a log from `low` to `high`; notes what it is assigned."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.assigned: list[int] = []

    def get_watermark_offsets(self, at: Any, **_: Any) -> tuple[int, int]:
        return self.low, self.high

    def incremental_assign(self, starts: list[Any]) -> None:
        self.assigned += [place.offset for place in starts]

    def incremental_unassign(self, places: list[Any]) -> None:
        self.assigned.clear()


def opened(log: Log, position: int) -> tuple[Assignment, list[tuple[int, int]]]:
    """An assignment of partition 0 at `position`, and where it counts what is lost."""
    lost: list[tuple[int, int]] = []
    assignment = Assignment("events", log.consumer, lambda number, events: lost.append((number, events)))
    partition = SimpleNamespace(number=0, position=position, watermark=Watermark(7), pending=PendingOffsets())
    start = assignment.add(cast(OpenPartition, partition))
    assert start.offset == assignment.progress[0].position
    return assignment, lost


def test_what_is_gone_from_the_log_at_the_start_is_lost_but_not_for_a_worker_that_begins() -> None:
    for position, expected in ((0, []), (20, [(0, 1_480)]), (1_500, []), (1_600, [])):
        assignment, lost = opened(Log(1_500, 1_600), position)
        assert lost == expected
        assert assignment.progress[0].position == max(1_500, position)
        assert assignment.pop_skipped() == ({0} if expected else set())


def test_what_is_removed_ahead_of_the_position_is_lost_and_reading_goes_on_where_the_log_begins() -> None:
    log = Log(0, 20)
    assignment, lost = opened(log, 20)
    log.low, log.high = 1_500, 1_600
    assignment.read_on_after_loss(0)
    assignment.read_on_after_loss(7)
    assert lost == [(0, 1_480)]
    assert log.assigned == [1_500]
    assert assignment.progress[0].pending.finish([]) == (1_500, Watermark(7))
    assert assignment.pop_skipped() == {0}
    log.low, log.high = 0, 100
    with pytest.raises(NextclickError, match="is at offset 1500, the log ends at 100"):
        assignment.read_on_after_loss(0)


def test_offsets_without_a_record_before_the_end_are_no_lag_and_not_lost() -> None:
    log = Log(0, 40)
    assignment, lost = opened(log, 38)
    assert assignment.measure_lag() == 2
    assignment.skip_to(0, 40)
    assert assignment.measure_lag() == 0
    assert lost == []
    assert assignment.pop_skipped() == {0}
    assignment.skip_to(0, 40)
    assert assignment.pop_skipped() == set()
    assignment.skip_to(0, 41)
    assignment.remove(0)
    assert assignment.pop_skipped() == set()


class Away:
    """A client whose brokers do not answer the first `times` questions; each calls `asked`."""

    def __init__(self, times: int, asked: Any = None) -> None:
        self.left = times
        self.questions = 0
        self._asked = asked

    def list_topics(self, topic: str, timeout: float) -> None:
        self.questions += 1
        if self._asked is not None:
            self._asked()
        if self.left:
            self.left -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_a_worker_that_lost_its_partitions_to_an_outage_waits_for_a_broker_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consumer = Away(times=3)
    with caplog.at_level(logging.WARNING):
        wait_for_a_broker(Settings(), threading.Event(), lambda config: cast(Any, consumer))
    assert consumer.questions == 4
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "no broker has answered for 15000 ms"
    ]


def test_where_brokers_answer_nothing_is_waited_for_nor_said(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Away(times=0)
    with caplog.at_level(logging.WARNING):
        wait_for_a_broker(Settings(), threading.Event(), lambda config: cast(Any, consumer))
    assert consumer.questions == 1 and not caplog.records


def test_a_worker_that_is_to_stop_waits_for_no_broker() -> None:
    stopping = threading.Event()
    consumer = Away(times=1_000, asked=stopping.set)
    wait_for_a_broker(Settings(), stopping, lambda config: cast(Any, consumer))
    assert consumer.questions == 1
