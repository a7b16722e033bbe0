"""The letters in `events-dlq`: records that were rejected, as they came, with reason and origin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.settings import Settings

SILENCE_S = 15.0


@dataclass(frozen=True)
class Letter:
    """One rejected record. `time_ms` is the wall time of its rejection, `origin` its topic-partition-offset.

    `is_cut`: it was too large to be kept whole. The same origin may stand twice, after a crash.
    """

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    reason: str
    origin: str
    is_cut: bool

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset in the topic of dead letters."""
        return self.partition, self.offset


def letters(settings: Settings) -> Iterator[Letter]:
    """All letters that the topic keeps now, by partition and offset.

    Raises NextclickError when the brokers do not answer or the topic is missing.
    """
    topic = settings.dlq_topic
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": f"{settings.group_id}-dlq-show",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        for place, (low, high) in sorted(bounds(consumer, topic).items()):
            if low < high:
                yield from map(_letter, records(consumer, topic, place, low, high))
    except KafkaException as error:
        raise unreadable(topic, error.args[0].str()) from None
    finally:
        consumer.close()


def bounds(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Partition → first offset, and the one behind the last. Raises KafkaException or NextclickError."""
    found = consumer.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
    if found.error is not None or not found.partitions:
        raise NextclickError(
            f"there is no topic {topic}",
            "Nothing was read.",
            "Create it with `nextclick topics create`, or name another with NEXTCLICK_DLQ_TOPIC.",
        )
    return {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_TIMEOUT_S)
        for number in found.partitions
    }


def records(consumer: Consumer, topic: str, number: int, first: int, end: int) -> Iterator[Message]:
    """The records [first, end) of a partition; the consumer has `enable.partition.eof`."""
    consumer.assign([TopicPartition(topic, number, first)])
    silent_since_s = time.monotonic()
    while True:
        # It waits that long, unless there are as many: the end of a partition does not cut it short.
        found = consumer.consume(500, timeout=0.05)
        if found:
            silent_since_s = time.monotonic()
        elif time.monotonic() - silent_since_s > SILENCE_S:
            raise unreadable(topic, f"no record came in {SILENCE_S:.0f} s")
        for message in found:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return
            if error is not None:
                raise KafkaException(error)
            if (message.offset() or 0) >= end:
                return
            yield message
            if (message.offset() or 0) + 1 >= end:
                return


def unreadable(topic: str, why: str) -> NextclickError:
    """The error of a topic that cannot be read."""
    return NextclickError(
        f"{topic} could not be read: {why}",
        "What was shown so far is right, and not all.",
        "Look at the brokers and at this client's rights, then try again.",
    )


def _letter(message: Message) -> Letter:
    headers = {
        name: value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        for name, value in dict(message.headers() or []).items()
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
    )
