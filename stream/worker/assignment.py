"""The partitions that this worker has now, and how far each has been read.

Asks Kafka what it must know of a partition, again and again while the brokers are away;
holds no session and decodes nothing. Used by the source's thread alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.consumers import offset_bounds
from stream.kafka.retries import retry_while_away
from stream.logs import happening
from stream.sessions.offsets import PendingOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.watermark import Watermark
from stream.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PartitionProgress:
    """One partition on its way: `position` is the next offset to be read, `end` the log's end as known."""

    pending: PendingOffsets
    position: int
    watermark: Watermark
    end: int
    newest_s: float

    @property
    def lag(self) -> int:
        """Records not read yet."""
        return max(0, self.end - self.position)


def make_consumer(
    settings: Settings, on_commit: Callable[[KafkaError | None, list[TopicPartition]], None]
) -> Consumer:
    """A member of the group that shares `events`; what it commits, and where it reads, it is told."""
    return Consumer(
        {
            **settings.kafka_config(),
            "group.id": settings.group_id,
            "group.instance.id": settings.worker_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "on_commit": on_commit,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": min(3_000, settings.session_timeout_ms // 3),
            "max.poll.interval.ms": max(900_000, settings.session_timeout_ms),
            "queued.max.messages.kbytes": 32_768,
            "queued.min.messages": 20_000,
            "fetch.wait.max.ms": 50,
        }
    )


class Assignment:
    """Partition number → how far it is read."""

    def __init__(self, topic: str, consumer: Consumer) -> None:
        self._topic = topic
        self._consumer = consumer
        self.readings: dict[int, PartitionProgress] = {}

    def committed(self, partitions: list[TopicPartition]) -> dict[int, TopicPartition]:
        """The group's committed offsets with their metadata."""

        def ask() -> list[TopicPartition]:
            answers = self._consumer.committed(partitions, timeout=ANSWER_TIMEOUT_S)
            for tp in answers:
                if tp.error is not None:
                    raise KafkaException(tp.error)
            return answers

        return {tp.partition: tp for tp in retry_while_away(ask, "asking for the committed offsets")}

    def add(self, partition: OpenPartition) -> TopicPartition:
        """Take a recovered partition in; → where to read on. Raises NextclickError on a shorter log."""
        number = partition.number
        low, high = offset_bounds(self._consumer, TopicPartition(self._topic, number))
        if partition.position > high:
            raise NextclickError(
                f"the store of partition {number} is at offset {partition.position}, the log ends at {high}",
                "The topic was emptied or made anew, or the broker lost records.",
                "Move the state folder away (or name another --state-dir) and start again.",
            )
        if 0 < partition.position < low:
            logger.warning(
                "partition %d: events %d to %d are no longer in the log",
                number,
                partition.position,
                low,
                extra=happening("events_lost", partition=number, first=partition.position, end=low),
            )
        start = max(low, partition.position)
        self.readings[number] = PartitionProgress(
            partition.pending, start, partition.watermark, high, time.monotonic()
        )
        return TopicPartition(self._topic, number, start)

    def remove(self, number: int) -> None:
        """Forget a partition that was given up."""
        del self.readings[number]

    def measure_lag(self) -> int:
        """Records of all partitions that are not read yet, as of the newest fetch."""
        for number, reading in self.readings.items():
            tp = TopicPartition(self._topic, number)
            _, newest = self._consumer.get_watermark_offsets(tp, cached=True)
            # Until the first fetch the newest offset is not known here, but from the assignment.
            reading.end = max(reading.end, newest)
        return sum(reading.lag for reading in self.readings.values())

    def move_idle_watermarks(self, idle_s: float) -> set[int]:
        """Where nothing came for `idle_s`, event time goes on with the wall; → these partitions."""
        now_s = time.monotonic()
        moved: set[int] = set()
        for number, reading in self.readings.items():
            silent_s = now_s - reading.newest_s
            if silent_s >= idle_s and reading.watermark.ms and not reading.lag:
                reading.watermark = Watermark(reading.watermark.ms + int(silent_s * 1000))
                reading.newest_s = now_s
                reading.pending.advance(reading.position, reading.watermark)
                moved.add(number)
        return moved
