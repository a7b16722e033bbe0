"""Reads ranges of `events` from Kafka, by offset, without a group.

Knows a partition's first and last offsets, the first offset of a time, and
the records between two offsets, decoded into columns. Commits nothing.

Tested by tests/integration/test_event_log.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
from confluent_kafka import KafkaException, TopicPartition

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.columns import Record, event_columns, record_of_message
from stream.kafka.connection import ANSWER_TIMEOUT_S, metadata, remedy_for
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader, Ranges
from stream.kafka.retries import log_transient, retry_while_away
from stream.kafka.topic_id import topic_id
from stream.settings import Settings


class KafkaEvents:
    """The events topic, read through one connection."""

    def __init__(self, settings: Settings, decoder: EventDecoder = OWN_EVENTS) -> None:
        self._decoder = decoder
        self._topic = settings.events_topic
        self._settings = settings
        self._consumer = groupless_consumer(
            settings,
            "window",
            {
                # What goes wrong is raised.
                "log_level": 0,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.min.messages": 100_000,
                "queued.max.messages.kbytes": 65_536,
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def bounds(self) -> dict[int, tuple[int, int]]:
        """By partition: the log's first offset and the one after its last.

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
            number: offset_bounds(self._consumer, TopicPartition(self._topic, number))
            for number in sorted(topic.partitions)
        }

    def topic_id(self) -> str:
        """The id that distinguishes this topic from an earlier or later one of its name."""
        return topic_id(self._settings, self._topic)

    def first_at(self, time_ms: int, ranges: Ranges) -> dict[int, int]:
        """By partition: the first offset of its range with a message time from `time_ms` on, else the end.

        The message time of an event is its event time or later, so that no event of `time_ms` or later
        lies before that offset, however late others come.
        """
        found = self._offsets_at(time_ms, ranges)
        missing = {number: ranges[number] for number, offset in found.items() if offset < 0}
        # Some brokers (librdkafka's mock) never know: then the range is read from its start.
        knows = self._offsets_at(0, missing)
        return {
            number: min(max(found[number], low), high)
            if found[number] >= 0
            else (high if knows[number] >= 0 else low)
            for number, (low, high) in ranges.items()
        }

    def _offsets_at(self, time_ms: int, numbers: Ranges) -> dict[int, int]:
        def ask() -> dict[int, int]:
            places = [TopicPartition(self._topic, number, time_ms) for number in numbers]
            answers = self._consumer.offsets_for_times(places, timeout=ANSWER_TIMEOUT_S)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
            return {answer.partition: answer.offset for answer in answers}

        return retry_while_away(ask, f"asking {self._topic} for the offsets of a time") if numbers else {}

    def read(self, ranges: Ranges, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """The records in [first, end) of each partition, each once, in chunks filtered by `keep`.

        Raises NextclickError when they cannot be read, or nothing comes for two minutes.
        """
        reader = PartitionReader(
            self._consumer,
            self._topic,
            self._unread,
            passes=lambda error: log_transient(error, "reading the log"),
        )
        for batch in reader.read(ranges):
            records: dict[int, list[Record]] = {}
            for message in batch:
                records.setdefault(message.partition() or 0, []).append(record_of_message(message))
            for number, rows in records.items():
                yield keep(event_columns(number, rows, self._decoder))

    def _unread(self, why: str, left: Ranges) -> NextclickError:
        ends = {number: end for number, (_, end) in left.items()}
        return NextclickError(
            f"{self._topic} could not be read to the offsets {ends} (by partition): {why}",
            "The window is incomplete, so nothing was made of it.",
            "Look at the brokers and at the retention of the events topic, then try again.",
        )
