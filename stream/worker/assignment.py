"""The partitions assigned to this worker, how far each has been read, and what its log has lost.

Asks Kafka for their offsets, and retries while the brokers are away. Holds no session and
decodes nothing. Used by the source's thread alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.consumers import committed_offsets, offset_bounds
from stream.kafka.group_members import leave_to_others
from stream.logs import happening
from stream.sessions.offsets import AppliedOffsets, PendingOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.web_address import client_id

HEARTBEAT_MS = 1_000
ASK_BROKERS_S, BROKER_TIMEOUT_S = 0.2, 2.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PartitionProgress:
    """How far one partition is read.

    `position` is the next offset to read, `end` the log's end as of the newest fetch, `last_read_s`
    the monotonic time of the last record, or of the last move of an idle watermark. Records before
    `durable` have their lists; at `moved_s` there was a new one, or nothing waited.
    """

    pending: PendingOffsets
    position: int
    watermark: Watermark
    end: int
    last_read_s: float
    durable: int = 0
    moved_s: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether a record has come, as of the newest fetch, that is not durable yet."""
        return self.durable < max(self.position, self.end)

    @property
    def wait_s(self) -> float:
        """For how long records have waited since the newest list; 0 while none waits."""
        return time.monotonic() - self.moved_s if self.waits else 0.0

    @property
    def lag(self) -> int:
        """Records not read yet.

        >>> PartitionProgress(PendingOffsets(), 5, Watermark(), 12, 0.0).lag
        7
        """
        return max(0, self.end - self.position)


def make_consumer(
    settings: Settings, on_commit: Callable[[KafkaError | None, list[TopicPartition]], None]
) -> Consumer:
    """A member of the group that shares `events`; its offsets are set and committed by hand.

    Other workers read from its client id where they may ask it.
    """
    return Consumer(
        {
            **settings.kafka_config(),
            "client.id": client_id(settings),
            "group.id": settings.group_id,
            "group.instance.id": settings.worker_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "on_commit": on_commit,
            "enable.auto.offset.store": False,
            # What retention removes ahead of the worker is an error here, to be counted as lost.
            "auto.offset.reset": "error",
            # The log's end may lie after its last record: behind it are transaction markers.
            "enable.partition.eof": True,
            "session.timeout.ms": settings.session_timeout_ms,
            # librdkafka's own thread sends them, whatever Python does; by its answers members hear
            # that one has gone, so this is part of the gap that it leaves.
            "heartbeat.interval.ms": min(HEARTBEAT_MS, settings.session_timeout_ms // 6),
            "max.poll.interval.ms": max(900_000, settings.session_timeout_ms),
            "queued.max.messages.kbytes": 32_768,
            "queued.min.messages": 20_000,
            "fetch.wait.max.ms": 50,
        }
    )


def close_consumer(settings: Settings, consumer: Consumer) -> None:
    """Close a member of the group whose work is done, and leave its partitions to the others."""
    member_id = consumer.memberid()
    consumer.close()
    if member_id:
        leave_to_others(settings, member_id)


class Assignment:
    """How far each assigned partition is read, by partition number."""

    def __init__(self, topic: str, consumer: Consumer, count_lost: Callable[[int, int], None]) -> None:
        self._topic = topic
        self._consumer = consumer
        self._count_lost = count_lost
        self._skipped: set[int] = set()
        self.progress: dict[int, PartitionProgress] = {}

    def committed(self, partitions: list[TopicPartition]) -> dict[int, TopicPartition]:
        """The group's committed offsets with their metadata."""
        return {tp.partition: tp for tp in committed_offsets(self._consumer, partitions)}

    def add(self, partition: OpenPartition) -> TopicPartition:
        """Add a recovered partition; returns where to read on. Raises NextclickError on a shorter log."""
        number = partition.number
        low, high = offset_bounds(self._consumer, TopicPartition(self._topic, number))
        if partition.position > high:
            raise _shorter_log(number, partition.position, high)
        now_s = time.monotonic()
        progress = PartitionProgress(
            partition.pending, partition.position, partition.watermark, high, now_s, partition.position, now_s
        )
        self.progress[number] = progress
        # A worker that begins at offset 0 has never had what is gone: its log begins later.
        if 0 < progress.position < low:
            self._lose(number, low)
        progress.position = max(low, progress.position)
        # What was gone before this worker began waits for no list.
        progress.durable = max(progress.durable, progress.position)
        return TopicPartition(self._topic, number, progress.position)

    def remove(self, number: int) -> None:
        """Forget a partition that was given up."""
        del self.progress[number]
        self._skipped.discard(number)

    def read_on_after_loss(self, number: int) -> None:
        """Go on where the log of a partition begins now: the record to read next is no longer in it.

        Raises NextclickError on a shorter log.
        """
        progress = self.progress.get(number)
        if progress is None:
            return
        place = TopicPartition(self._topic, number)
        low, high = offset_bounds(self._consumer, place)
        if progress.position > high:
            raise _shorter_log(number, progress.position, high)
        if progress.position < low:
            self._lose(number, low)
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([TopicPartition(self._topic, number, progress.position)])

    def _lose(self, number: int, end: int) -> None:
        """Count the offsets from the position to `end` as lost, and skip them."""
        first = self.progress[number].position
        logger.warning(
            "partition %d: events %d to %d are no longer in the log",
            number,
            first,
            end,
            extra=happening("events_lost", partition=number, first=first, end=end),
        )
        self._count_lost(number, end - first)
        self.skip_to(number, end)

    def skip_to(self, number: int, offset: int) -> None:
        """Move the position of a partition to `offset`: no record to read stands before it."""
        progress = self.progress.get(number)
        if progress is not None and offset > progress.position:
            progress.position = offset
            progress.end = max(progress.end, offset)
            progress.pending.advance(offset, progress.watermark)
            self._skipped.add(number)

    def pop_skipped(self) -> set[int]:
        """The partitions whose position has moved without a record since the last call."""
        skipped, self._skipped = self._skipped, set()
        return skipped

    def measure_lag(self) -> int:
        """Records of all partitions that are not read yet, as of the newest fetch."""
        for number, partition in self.progress.items():
            tp = TopicPartition(self._topic, number)
            _, newest = self._consumer.get_watermark_offsets(tp, cached=True)
            # Before the first fetch the cached offset is unknown; the assignment knew the end.
            partition.end = max(partition.end, newest)
            if not partition.waits:
                partition.moved_s = time.monotonic()
        return sum(partition.lag for partition in self.progress.values())

    def written(self, written: dict[int, AppliedOffsets]) -> None:
        """Note how far partitions are durable; from any thread."""
        for number, applied in written.items():
            progress = self.progress.get(number)
            if progress is not None and applied.position > progress.durable:
                progress.durable, progress.moved_s = applied.position, time.monotonic()

    def move_idle_watermarks(self, idle_s: float) -> set[int]:
        """Advance event time by the wall in partitions without a record for `idle_s`; returns these."""
        now_s = time.monotonic()
        moved: set[int] = set()
        for number, partition in self.progress.items():
            silent_s = now_s - partition.last_read_s
            if silent_s >= idle_s and partition.watermark.ms and not partition.lag:
                partition.watermark = partition.watermark.later(int(silent_s * 1000))
                partition.last_read_s = now_s
                partition.pending.advance(partition.position, partition.watermark)
                moved.add(number)
        return moved


def _shorter_log(number: int, position: int, end: int) -> NextclickError:
    return NextclickError(
        f"the store of partition {number} is at offset {position}, the log ends at {end}",
        "The topic was emptied or made anew, or the broker lost records.",
        "Start the worker again: of a topic that was made anew it reads the beginning. If it says the same "
        "again, move the state folder away (or name another --state-dir).",
    )


def wait_for_a_broker(
    settings: Settings, stopping: threading.Event, make_client: Callable[..., AdminClient] = AdminClient
) -> None:
    """Return once a broker answers, or the worker is to stop.

    A worker that has lost its partitions to an outage would end, and end again at each start, unable to tell
    why; while it waits here its web server says that no broker answers.
    """
    is_told = False
    while not stopping.wait(ASK_BROKERS_S):
        # Of its own: in a callback of the consumer, asking the consumer itself would abort the process. And
        # made anew each time: the files of a password or a certificate may have been renewed meanwhile.
        client = make_client({**settings.kafka_config(), "log_level": 0})
        try:
            client.list_topics(settings.events_topic, timeout=BROKER_TIMEOUT_S)
            return
        except KafkaException as error:
            if not is_told:
                logger.warning(
                    "no broker has answered for %d ms, and the group may have given this worker's partitions "
                    "away: %s; it waits for one, and then ends",
                    settings.session_timeout_ms,
                    error.args[0].str(),
                    extra=happening("waits_for_brokers", error=error.args[0].str()),
                )
            is_told = True


def taken_away(settings: Settings, partitions: list[int]) -> NextclickError:
    """The error of a member whose partitions the group has given to others."""
    return NextclickError(
        f"partitions {partitions} were taken from this worker",
        f"For {settings.session_timeout_ms} ms it and the brokers heard nothing of each other: "
        "either stood still, or another worker has its id. What was not committed is read again.",
        "Start it again; give each worker its own --worker-id.",
    )


def log_went_back(number: int, offset: int, position: int) -> NextclickError:
    """The error of a record before the position: the log is another one, or was cut off and written on."""
    return NextclickError(
        f"partition {number} has a record at offset {offset} after it was read up to {position}",
        "The topic was made anew, or the broker lost records and others have their offsets now.",
        "Start the worker again: of a topic that was made anew it reads the beginning.",
    )
