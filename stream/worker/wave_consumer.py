"""The role of the pipeline as the source sees it.

Tested by tests/unit/stream/worker/test_source.py, with a fake, and tests/integration/test_worker.py.
"""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.wave.waves import Wave

# Of waves queued in a lane: with more, it has no room for another one.
MOST_QUEUED_WAVES = 1


class WaveConsumer(Protocol):
    """Steps waves lane by lane, says how full each lane is, and owns the partitions' states."""

    def emit(self, waves: list[Wave]) -> None:
        """Take waves of one lane, in order."""

    def queued(self) -> list[int]:
        """Waves emitted and not stepped yet, by lane."""

    def wait_for_room(self, lanes: list[int], timeout_s: float) -> None:
        """Wait until one of the lanes has at most MOST_QUEUED_WAVES queued."""

    def wait_until_durable(self) -> None:
        """Wait until every emitted wave is written."""

    def open_partition(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        """Recover an assigned partition; `committed` is what the group knows of it."""

    def close_partition(self, number: int) -> AppliedOffsets:
        """Close a partition without waves under way; returns its durable offsets."""

    def add_read(self, counts: dict[int, int]) -> None:
        """Count records read, by partition."""

    def add_producer_fault(self, fault: str, events: int) -> None:
        """Count events that a producer has sent otherwise than it should; see ProducerFaults."""

    def add_lost(self, number: int, events: int) -> None:
        """Count events of a partition that left the log before they were read."""
