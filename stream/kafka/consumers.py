"""What the consumers of this package share: their settings, the log's offsets, what they log and raise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S, remedy_for
from stream.kafka.retries import log_transient, retry_while_away
from stream.logs import happening
from stream.settings import Settings

logger = logging.getLogger(__name__)


def outside_consumer(settings: Settings, group: str, config: Mapping[str, Any]) -> Consumer:
    """A consumer that is no member of `group` while it subscribes nothing, and commits nothing by itself.

    It asks what the group has committed. The admin client, which asks the same, ends the process by a null
    pointer where a broker answers that it is not the group's coordinator, as all do that have just started
    (librdkafka 2.16, its issue 5040). `config` is added to its settings.
    """
    return Consumer(
        {
            **settings.kafka_config(),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            **config,
        }
    )


def groupless_consumer(settings: Settings, purpose: str, config: Mapping[str, Any]) -> Consumer:
    """A consumer that assigns itself its partitions and commits nothing; `config` is added to its settings.

    librdkafka requires the name of a group all the same, on which the user needs rights.
    """
    return outside_consumer(settings, f"{settings.group_id}-{purpose}", config)


def sharing_config(settings: Settings, purpose: str, strategy: str) -> dict[str, Any]:
    """The settings of a member of the group that shares partitions among the processes of a purpose."""
    return {
        **settings.kafka_config(),
        "group.id": f"{settings.group_id}-{purpose}",
        "group.instance.id": f"{settings.worker_id}-{purpose}",
        "partition.assignment.strategy": strategy,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # What retention removes ahead of it is an error here, not to be skipped.
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, settings.session_timeout_ms // 6),
        "max.poll.interval.ms": max(300_000, settings.session_timeout_ms),
    }


def offset_bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """The first offset of a partition's log, and the one after its last; asked of its leader."""
    return retry_while_away(
        lambda: consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT_S, cached=False),
        f"asking for the offsets of partition {place.partition} of {place.topic}",
    )


def committed_offsets(consumer: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
    """What the consumer's group has committed of these partitions; below 0 where it has nothing."""

    def ask() -> list[TopicPartition]:
        answers = consumer.committed(places, timeout=ANSWER_TIMEOUT_S)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return answers

    return retry_while_away(ask, "asking for the committed offsets")


def log_assigned(starts: list[TopicPartition]) -> None:
    """Log which partitions are read, and from which offset."""
    offsets = {tp.partition: tp.offset for tp in starts}
    logger.info(
        "assigned: %s",
        ", ".join(f"{number}@{offset}" for number, offset in offsets.items()),
        extra=happening("assigned", offsets=offsets),
    )


def log_refused_commit(error: KafkaError, meaning: str) -> None:
    """Log that the group refused a commit, and what that means."""
    logger.warning(
        "a commit was refused: %s; %s",
        error.str(),
        meaning,
        extra=happening("commit_refused", error=error.name()),
    )


def raise_unless_transient(error: KafkaError, settings: Settings) -> None:
    """Log an error that passes by itself; raise NextclickError for every other one."""
    if log_transient(error, "reading events"):
        return
    if "fenced" in error.str():
        raise NextclickError(
            f"another worker has joined with the id {settings.worker_id}",
            "Two workers of one name take each other's partitions, and this one gives way; or this one stood "
            "still, or heard nothing of the brokers, for longer than session_timeout_ms and was replaced.",
            "Give each worker its own --worker-id; then start this one again.",
        )
    raise NextclickError(
        f"reading {settings.events_topic} failed: {error.str()}",
        "Nothing is lost: what was not written is read again after a restart.",
        remedy_for(error, "Look at the brokers, then start the worker again."),
    )
