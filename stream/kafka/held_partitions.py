"""Partitions that wait for a schema which the registry does not give: their records stay in the log.

A waiting partition is taken out of the consumer, so that nothing behind the record comes by, and is read
again from that record every RETRY_S. The other partitions go on.

Tested by tests/integration/test_schema_registry.py and tests/unit/stream/worker/test_source.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition

from stream.event_decoder import SchemaAwayError
from stream.logs import happening

RETRY_S = 1.0
logger = logging.getLogger(__name__)


class HeldPartitions:
    """By partition the offset that waits; `waiting` says why. Used by the source's thread alone."""

    def __init__(self, topic: str, consumer: Consumer, now_s: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._consumer = consumer
        self._now_s = now_s
        self._held: dict[int, tuple[int, float]] = {}
        self.waiting: dict[int, str] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def hold(self, number: int, offset: int, away: SchemaAwayError) -> None:
        """Read no further in a partition: the schema of the record at `offset` is not known."""
        self._held[number] = (offset, self._now_s() + RETRY_S)
        if number not in self.waiting:
            logger.warning(
                "partition %d waits at offset %d: schema %d is not known: %s",
                number,
                offset,
                away.schema_id,
                away.why,
                extra=happening(
                    "schema_awaited", partition=number, offset=offset, schema=away.schema_id, error=away.why
                ),
            )
        self.waiting[number] = f"schema {away.schema_id}: {away.why}"
        self._consumer.incremental_unassign([TopicPartition(self._topic, number)])

    def retry(self) -> None:
        """Read the partitions again whose time has come."""
        now_s = self._now_s()
        self.release({number for number, (_, due_s) in self._held.items() if due_s <= now_s})

    def release(self, numbers: set[int]) -> None:
        """Give partitions back to the consumer, each from the record that it waits at."""
        starts = [
            TopicPartition(self._topic, number, self._held.pop(number)[0])
            for number in sorted(numbers & self._held.keys())
        ]
        if starts:
            self._consumer.incremental_assign(starts)

    def passed(self, number: int) -> None:
        """A record of the partition has been read: it waits no longer."""
        if self.waiting.pop(number, None) is not None:
            logger.info(
                "partition %d: the schema is known now, reading goes on",
                number,
                extra=happening("schema_known", partition=number),
            )

    def forget(self, numbers: set[int]) -> None:
        """Partitions that were given up wait no longer here."""
        for number in numbers:
            self.waiting.pop(number, None)
