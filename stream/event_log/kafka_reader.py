"""Reads ranges of `events` from Kafka, by offset, without a group.

Knows where a partition's log begins and ends, from which offset on a time may be found,
and the records between two offsets, decoded in columns. Commits nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.event_log.columns import Record, event_columns
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S, metadata, remedy_for
from stream.kafka.consumers import log_offsets
from stream.kafka.retries import PASSING, PATIENCE_S, retry_while_away
from stream.logs import happening
from stream.settings import Settings

BATCH_RECORDS = 10_000
Ranges = Mapping[int, tuple[int, int]]
logger = logging.getLogger(__name__)


class KafkaEvents:
    """The events topic as it is now."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.events_topic
        self._settings = settings
        self._consumer = Consumer(
            {
                **settings.kafka_config(),
                # Never joined and never committed to; librdkafka wants a name.
                "group.id": f"{settings.group_id}-window",
                # What goes wrong is raised.
                "log_level": 0,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.min.messages": 100_000,
                "queued.max.messages.kbytes": 65_536,
            }
        )

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Partition → the log's first offset and the one behind its last.

        Raises NextclickError without a broker or a topic.
        """
        topic = metadata(self._consumer, self._settings, self._topic).topics[self._topic]
        if topic.error is not None:
            raise NextclickError(
                f"the topic {self._topic} cannot be read: {topic.error.str()}",
                "No event was read.",
                remedy_for(
                    topic.error,
                    "Create it with `nextclick topics`, or name another with NEXTCLICK_EVENTS_TOPIC.",
                ),
            )
        return {
            number: log_offsets(self._consumer, TopicPartition(self._topic, number))
            for number in sorted(topic.partitions)
        }

    def topic_id(self) -> str:
        """What tells this topic from an earlier or later one of its name."""

        def ask() -> str:
            # Held until it has answered.
            admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
            topics = TopicCollection([self._topic])
            answer = admin.describe_topics(topics, request_timeout=ANSWER_TIMEOUT_S)
            return str(answer[self._topic].result(timeout=RESULT_TIMEOUT_S).topic_id)

        return retry_while_away(ask, f"asking for the id of the topic {self._topic}")

    def first_at(self, time_ms: int, ranges: Ranges) -> dict[int, int]:
        """Partition → the first offset of its range with a message time of `time_ms` or later, else the end.

        Events carry their own time as message time, or a later one: none of `time_ms` or later
        lies before that offset, however late others come.
        """
        found = self._ask_for_time(time_ms, ranges)
        missing = {number: ranges[number] for number, offset in found.items() if offset < 0}
        # Some brokers (librdkafka's own) never know: the range is then to be read from its start.
        knows = self._ask_for_time(0, missing)
        return {
            number: min(max(found[number], low), high)
            if found[number] >= 0
            else (high if knows[number] >= 0 else low)
            for number, (low, high) in ranges.items()
        }

    def _ask_for_time(self, time_ms: int, numbers: Ranges) -> dict[int, int]:
        def ask() -> dict[int, int]:
            places = [TopicPartition(self._topic, number, time_ms) for number in numbers]
            answers = self._consumer.offsets_for_times(places, timeout=ANSWER_TIMEOUT_S)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
            return {answer.partition: answer.offset for answer in answers}

        return retry_while_away(ask, f"asking {self._topic} for the offsets of a time") if numbers else {}

    def read(self, ranges: Ranges, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """The records in [first, end) of each partition, each once, in chunks that went through `keep`.

        Raises NextclickError when they cannot be read, or nothing comes for two minutes.
        """
        left = {number: end for number, (first, end) in ranges.items() if first < end}
        if not left:
            return
        places = [TopicPartition(self._topic, number, ranges[number][0]) for number in left]
        self._consumer.assign(places)
        latest_s = time.monotonic()
        while left:
            messages = self._consumer.consume(BATCH_RECORDS, timeout=0.5)
            records: dict[int, list[Record]] = {}
            for message in messages:
                error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
                if error is not None:
                    self._look_at(error, number, offset, left)
                    continue
                end = left.get(number)
                if end is None:
                    continue
                if offset < end:
                    records.setdefault(number, []).append(Record(offset, message.key(), message.value()))
                if offset + 1 >= end:
                    self._finish(number, left)
            for number, rows in records.items():
                latest_s = time.monotonic()
                yield keep(event_columns(number, rows))
            if time.monotonic() - latest_s > PATIENCE_S:
                raise self._unread(f"nothing came for {PATIENCE_S:.0f} s", left)
        # A pause would outlast the assignment.
        self._consumer.resume(places)
        self._consumer.unassign()

    def _finish(self, number: int, left: dict[int, int]) -> None:
        del left[number]
        self._consumer.pause([TopicPartition(self._topic, number)])

    def _look_at(self, error: KafkaError, number: int, offset: int, left: dict[int, int]) -> None:
        """Pass over what passes; a partition whose last offsets hold no records is read to its end, too."""
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            # Before the end, it is a new leader that does not know yet how far its log is sure.
            if offset >= left.get(number, offset + 1):
                self._finish(number, left)
            return
        if error.fatal() or error.code() not in PASSING:
            raise self._unread(error.str(), left)
        logger.warning(
            "Kafka is away: %s; reading goes on when it is back",
            error.str(),
            extra=happening("kafka_away", doing="reading the log", error=error.name()),
        )

    def _unread(self, why: str, left: dict[int, int]) -> NextclickError:
        return NextclickError(
            f"{self._topic} could not be read to the offsets {left} (by partition): {why}",
            "The window is incomplete, so nothing was made of it.",
            "Look at the brokers and at the retention of the events topic, then try again.",
        )
