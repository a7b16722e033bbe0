"""Reads the dead letters in `events-dlq`: rejected records, as they came, with reason and origin.

Tested by tests/integration/test_dead_letters.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, Message

from stream.event_decoder import OF_RECORD, TIMESTAMP, Headers
from stream.kafka.consumers import groupless_consumer
from stream.kafka.partition_reader import read_range, topic_bounds, unreadable
from stream.settings import Settings


@dataclass(frozen=True)
class Letter:
    """One rejected record. `time_ms` is the wall time of its rejection, `origin` its topic-partition-offset.

    `is_cut`: it was too large to be kept whole. `timestamp_ms` and `headers` are the record's own, where a
    mapping reads them. After a crash the same origin may occur twice.
    """

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    reason: str
    origin: str
    is_cut: bool
    timestamp_ms: int | None = None
    headers: Headers = ()

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset in the topic of dead letters."""
        return self.partition, self.offset


def letters(settings: Settings) -> Iterator[Letter]:
    """All letters in the topic, by partition and offset.

    Raises NextclickError when the brokers do not answer or the topic is missing.
    """
    topic = settings.dlq_topic
    config = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
    consumer = groupless_consumer(settings, "dlq-show", config)
    try:
        for number, (low, high) in sorted(topic_bounds(consumer, topic).items()):
            yield from map(_letter, read_range(consumer, topic, number, low, high))
    except KafkaException as error:
        raise unreadable(topic, error.args[0].str()) from None
    finally:
        consumer.close()


def _letter(message: Message) -> Letter:
    kept: Any = message.headers() or []
    headers = {
        name: value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        for name, value in kept
    }
    origin = "-".join(headers.get(name, "?") for name in ("topic", "partition", "offset"))
    return Letter(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers.get("reason", "?"),
        origin,
        "cut_from" in headers,
        int(headers[TIMESTAMP]) if headers.get(TIMESTAMP, "").isdecimal() else None,
        [(name.removeprefix(OF_RECORD), value) for name, value in kept if name.startswith(OF_RECORD)],
    )
