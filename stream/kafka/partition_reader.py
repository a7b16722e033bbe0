"""Reads the records between two offsets of partitions, in order, each once.

A partition ends at a record at or after its last offset, or at the end of its log: the last
offsets may hold no records (aborted transactions, compaction). Before that offset the end of the
log means nothing: a new leader does not know yet how much of its log is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.retries import RETRY_FOR_S, is_transient

# By partition: the first offset, and the one after the last.
Ranges = Mapping[int, tuple[int, int]]
# For a command, whose user waits; the worker waits longer.
SILENCE_S = 15.0


@dataclass(frozen=True)
class PartitionReader:
    """Reads ranges of `topic` with a consumer that has `enable.partition.eof` and no group.

    `unread` makes the error to raise from the reason and the ranges not read yet; `passes` says
    whether reading goes on after an error of the client. `consume` waits `poll_s` for a batch to fill.
    """

    consumer: Consumer
    topic: str
    unread: Callable[[str, Ranges], Exception]
    passes: Callable[[KafkaError], bool] = is_transient
    silence_s: float = RETRY_FOR_S
    batch_records: int = 10_000
    poll_s: float = 0.5

    def read(self, ranges: Ranges) -> Iterator[list[Message]]:
        """The records in [first, end) of each partition, in batches; within a partition by offset.

        Raises what `unread` makes after an error that does not pass, or `silence_s` without a record.
        """
        ends = {number: end for number, (first, end) in ranges.items() if first < end}
        if not ends:
            return
        positions = {number: ranges[number][0] for number in ends}
        places = [TopicPartition(self.topic, number, first) for number, first in positions.items()]
        self.consumer.assign(places)
        newest_s = time.monotonic()
        while ends:
            # No more than there is to come: librdkafka waits for a batch to fill.
            missing = sum(end - positions[number] for number, end in ends.items())
            records: list[Message] = []
            for message in self.consumer.consume(min(self.batch_records, missing), timeout=self.poll_s):
                error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
                end = ends.get(number)
                if error is None:
                    if end is None:
                        continue
                    if offset < end:
                        records.append(message)
                        positions[number] = offset + 1
                    if offset + 1 >= end:
                        self._finish(number, ends)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    if end is not None and offset >= end:
                        self._finish(number, ends)
                elif not self.passes(error):
                    raise self.unread(error.str(), _left(positions, ends))
            if records:
                yield records
                newest_s = time.monotonic()
            elif time.monotonic() - newest_s > self.silence_s:
                raise self.unread(f"nothing came for {self.silence_s:.0f} s", _left(positions, ends))
        # A pause would outlast the assignment.
        self.consumer.resume(places)
        self.consumer.unassign()

    def _finish(self, number: int, ends: dict[int, int]) -> None:
        del ends[number]
        self.consumer.pause([TopicPartition(self.topic, number)])


def _left(positions: Mapping[int, int], ends: Mapping[int, int]) -> Ranges:
    return {number: (positions[number], end) for number, end in ends.items()}


def topic_bounds(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Each partition's first offset, and the one after its last. Raises KafkaException or NextclickError."""
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


def read_range(consumer: Consumer, topic: str, number: int, first: int, end: int) -> Iterator[Message]:
    """The records in [first, end) of one partition, for a command: any error ends it, and 15 s of silence.

    Raises NextclickError.
    """
    reader = PartitionReader(
        consumer,
        topic,
        lambda why, left: unreadable(topic, why),
        passes=lambda error: False,
        silence_s=SILENCE_S,
        batch_records=500,
        poll_s=0.05,
    )
    for batch in reader.read({number: (first, end)}):
        yield from batch


def unreadable(topic: str, why: str) -> NextclickError:
    """The error of a topic that a command cannot read."""
    return NextclickError(
        f"{topic} could not be read: {why}",
        "What was shown so far is right, and not all.",
        "Look at the brokers and at this client's rights, then try again.",
    )
