"""Reads the recommendations topic: each list as it comes, with its headers.

Tested by tests/integration/test_consumers.py and tests/integration/test_worker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from confluent_kafka import KafkaError, Message, TopicPartition

from model.errors import NextclickError
from stream.events import Recommendation, decode_recommendation
from stream.kafka.connection import metadata, remedy_for
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.settings import Settings


@dataclass(frozen=True)
class Received:
    """One list with the place and the headers of its record."""

    recommendation: Recommendation
    partition: int
    offset: int
    headers: dict[str, str]


def recommendations(
    settings: Settings,
    *,
    from_start: bool = False,
    idle_s: float | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[Received]:
    """The lists of all partitions: the new ones, or with `from_start` all that are kept.

    Reads without a group, so that every reader gets every list. Ends after `idle_s`
    seconds without a list (None: never), or when `until` returns True. Raises NextclickError when no
    broker answers.
    """
    config = {"auto.offset.reset": "earliest" if from_start else "latest"}
    consumer = groupless_consumer(settings, "watch", config)
    try:
        topic = settings.recommendations_topic
        found = metadata(consumer, settings, topic).topics[topic]
        if found.error is not None:
            raise NextclickError(
                f"the topic {topic} cannot be read: {found.error.str()}",
                "There is nothing to watch.",
                remedy_for(found.error, "Make it with `nextclick topics`, or name the right one."),
            )
        consumer.assign(
            [
                TopicPartition(
                    topic, number, offset_bounds(consumer, TopicPartition(topic, number))[not from_start]
                )
                for number in found.partitions
            ]
        )
        idle = 0.0
        while (idle_s is None or idle < idle_s) and not until():
            messages = consumer.consume(500, timeout=0.1)
            idle = 0.0 if messages else idle + 0.1
            for message in messages:
                received = _received(message)
                if received is not None:
                    yield received
    finally:
        consumer.close()


def _received(message: Message) -> Received | None:
    error = message.error()
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF or error.retriable():  # noqa: SLF001
            return None
        remedy = remedy_for(error, "Look at the brokers.")
        raise NextclickError(f"reading failed: {error.str()}", "The watch ends.", remedy)
    try:
        recommendation = decode_recommendation(message.value() or b"")
    except msgspec.DecodeError as problem:
        raise NextclickError(
            f"{message.topic()} holds something that is no list: {problem}",
            "Another program writes to this topic.",
            "Name the right topic with NEXTCLICK_RECOMMENDATIONS_TOPIC.",
        ) from None
    return received_of(message, recommendation)


def received_of(message: Message, recommendation: Recommendation) -> Received:
    """A decoded list with the place and the headers of its record."""
    headers = {
        name: value.decode() if isinstance(value, bytes) else str(value or "")
        for name, value in dict(message.headers() or []).items()
    }
    return Received(recommendation, message.partition() or 0, message.offset() or 0, headers)
