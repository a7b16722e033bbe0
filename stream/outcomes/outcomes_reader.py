"""Reads `outcomes`: the comparison of an experiment, and what is there of sessions that are forgotten.

Tested by tests/unit/stream/outcomes/test_outcomes_reader.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import partition_counts
from stream.logs import happening
from stream.outcomes.comparison import Comparison
from stream.outcomes.outcome import UNREADABLE_ERRORS, Outcome, decode_outcome
from stream.settings import Settings

logger = logging.getLogger(__name__)


class Topic(Protocol):
    """What is read of a topic, as by TopicReader."""

    def bounds(self) -> Sequence[tuple[int, int]]:
        """By partition: the log's first offset and the one after its last."""

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """The records with first <= offset < end, in batches."""


@dataclass
class OutcomesOfSessions:
    """How many records of sessions are on `outcomes`, of how many of them, and when the newest was written.

    `ends` has by partition the offset after the last one: without what is below, the topic has none of them.
    """

    lists: int = 0
    sessions: set[str] = field(default_factory=set)
    newest_ms: int = 0
    ends: dict[int, int] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """Add a record of one of the sessions."""
        self.lists += 1
        self.sessions.add(_key_of(message))
        self.newest_ms = max(self.newest_ms, message.timestamp()[1])
        self.ends[message.partition() or 0] = (message.offset() or 0) + 1


def compared(settings: Settings, experiment: str) -> Comparison | None:
    """The comparison of an experiment; None where no outcomes are recorded. Raises NextclickError."""
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    if settings.outcomes_topic not in partition_counts(admin, settings):
        return None
    comparison = Comparison(experiment)
    with TopicReader(settings, settings.outcomes_topic) as reader:
        for number, (low, high) in enumerate(reader.bounds()):
            comparison.add(_outcomes(reader, number, low, high))
    return comparison


def of_sessions(topic: Topic, sessions: Collection[str]) -> OutcomesOfSessions:
    """What the topic has of these sessions, whose ids are its keys. Raises NextclickError."""
    found, wanted = OutcomesOfSessions(), frozenset(sessions)
    for number, (low, high) in enumerate(topic.bounds()):
        for batch in topic.read(number, low, high) if low < high else ():
            for message in batch:
                if _key_of(message) in wanted:
                    found.add(message)
    return found


def _key_of(message: Message) -> str:
    key = message.key() or b""
    return key if isinstance(key, str) else key.decode(errors="replace")


def _outcomes(reader: TopicReader, number: int, low: int, high: int) -> Iterator[Outcome]:
    unreadable = 0
    for batch in reader.read(number, low, high):
        for message in batch:
            try:
                yield decode_outcome(message.value())
            except UNREADABLE_ERRORS:
                unreadable += 1
    if unreadable:
        logger.warning(
            "%s, partition %d: %d records are no outcomes, and are passed over",
            reader.topic,
            number,
            unreadable,
            extra=happening("outcomes_unreadable", topic=reader.topic, partition=number, count=unreadable),
        )
