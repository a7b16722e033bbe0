"""What stands before and behind the source: a group with some records, and a pipeline that steps nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition

from stream.events import Event, encode_event
from stream.sessions.offsets import AppliedOffsets, PendingOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.watermark import Watermark
from stream.wave.waves import Wave


class Record:
    """A message as confluent-kafka gives it."""

    def __init__(self, offset: int, event_time_s: float, session_id: str = "") -> None:
        self._offset = offset
        self._value = encode_event(Event(session_id or f"s{offset}", int(event_time_s * 1000), "i"))

    def error(self) -> KafkaError | None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes:
        return self._value


class Group:
    """A consumer that has some records; notes for how long it was to wait."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.waits_s: list[float] = []
        self.commits: list[list[TopicPartition]] = []
        self._on_assign: Callable[[Consumer, list[TopicPartition]], None] | None = None

    @property
    def consumer(self) -> Consumer:
        return cast(Consumer, self)

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._on_assign = on_assign

    def assign(self, *numbers: int) -> None:
        assert self._on_assign is not None
        self._on_assign(self.consumer, [TopicPartition("events", number) for number in numbers])

    def incremental_assign(self, starts: list[TopicPartition]) -> None:
        pass

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return partitions

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.commits.append(offsets)

    def get_watermark_offsets(self, at: TopicPartition, **_: Any) -> tuple[int, int]:
        return 0, 100

    def consume(self, most: int, timeout: float) -> list[Record]:
        self.waits_s.append(timeout)
        given, self.records = self.records[:most], self.records[most:]
        return given


class IdlePipeline:
    """Keeps the waves that it is given; opens partitions at `watermark`."""

    def __init__(self, lanes: int = 2) -> None:
        self.emitted: list[Wave] = []
        self.queued_waves = [0] * lanes
        self.waited: list[tuple[list[int], float]] = []
        self.durable_after: list[int] = []
        self.watermark = Watermark()
        self.durable = AppliedOffsets()
        self.lost: list[tuple[int, int]] = []
        self.faults: list[tuple[str, int]] = []

    def emit(self, waves: list[Wave]) -> None:
        self.emitted += waves

    def queued(self) -> list[int]:
        return self.queued_waves

    def wait_for_room(self, lanes: list[int], timeout_s: float) -> None:
        self.waited.append((lanes, timeout_s))

    def wait_until_durable(self) -> None:
        self.durable_after.append(len(self.emitted))

    def open_partition(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        opened = SimpleNamespace(
            number=number,
            position=self.durable.position,
            durable=self.durable,
            watermark=self.watermark,
            pending=PendingOffsets(),
        )
        return cast(OpenPartition, opened)

    def close_partition(self, number: int) -> AppliedOffsets:
        return AppliedOffsets()

    def add_read(self, counts: dict[int, int]) -> None:
        pass

    def add_producer_fault(self, fault: str, events: int) -> None:
        self.faults.append((fault, events))

    def add_lost(self, number: int, events: int) -> None:
        self.lost.append((number, events))
