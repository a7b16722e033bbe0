"""Which dead letters were replayed, kept in Kafka as commits of the group GROUP-dlq-replay.

For each partition of `events-dlq` the committed offset is one after the newest letter seen; the commit's
metadata list the earlier letters that were not replayed, and the batch being sent.
Tested by tests/integration/test_dead_letters.py.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.dead_letter_reader import Letter
from stream.settings import Settings

# Kafka's default of offset.metadata.max.bytes.
MAX_METADATA_BYTES = 4096


class Sending(msgspec.Struct, array_like=True):
    """A batch being sent: its letters' offsets, and the ends of the partitions of `events` before it."""

    offsets: list[int]
    ends: dict[int, int]


class PartitionLetters(msgspec.Struct, array_like=True):
    """One partition of `events-dlq`: letters below offset `top` are done, except those in `left`.

    >>> letters = PartitionLetters()
    >>> letters.add([0, 1])
    >>> letters.mark_done([0])
    >>> letters.is_done(0), letters.is_done(1)
    (True, False)
    """

    top: int = 0
    left: set[int] = msgspec.field(default_factory=set)
    sending: Sending | None = None

    def is_done(self, offset: int) -> bool:
        """Whether the letter at this offset was replayed or given up."""
        return offset < self.top and offset not in self.left

    def mark_done(self, offsets: Iterable[int]) -> None:
        """Mark these letters as replayed or given up."""
        self.left.difference_update(offsets)

    def add(self, offsets: Iterable[int]) -> None:
        """Add letters not seen before; they are left until they are marked as done."""
        for offset in sorted(offsets):
            if offset >= self.top:
                self.left.add(offset)
                self.top = offset + 1


class ReplayedLetters:
    """The letters of all partitions. Only one replay may run: two would overwrite each other's commits."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.dlq_topic
        self._consumer = Consumer(
            {
                **settings.kafka_config(),
                "group.id": f"{settings.group_id}-dlq-replay",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        self._partitions: dict[int, PartitionLetters] = {}

    def load(self, letters: list[Letter]) -> None:
        """Read from Kafka which of these letters are done. Raises NextclickError without an answer."""
        present: dict[int, set[int]] = {}
        for letter in letters:
            present.setdefault(letter.partition, set()).add(letter.offset)
        places = [TopicPartition(self._topic, number) for number in present]
        try:
            answers = self._consumer.committed(places, timeout=ANSWER_TIMEOUT_S) if places else []
        except KafkaException as error:
            raise _unknown(error.args[0].str()) from None
        for tp in answers:
            partition = _decode(tp.metadata) if tp.offset >= 0 else PartitionLetters()
            # Letters that retention removed need not be remembered.
            partition.left &= present[tp.partition]
            partition.add(present[tp.partition])
            self._partitions[tp.partition] = partition

    def of(self, number: int) -> PartitionLetters:
        """The letters of a partition."""
        return self._partitions[number]

    def unfinished(self) -> dict[int, Sending]:
        """Batches that may have been sent in part, by partition."""
        return {n: partition.sending for n, partition in self._partitions.items() if partition.sending}

    def is_done(self, letter: Letter) -> bool:
        """Whether the letter was replayed or given up."""
        return self._partitions[letter.partition].is_done(letter.offset)

    def save(self) -> None:
        """Commit the state of all partitions. Raises NextclickError when Kafka refuses."""
        offsets = [
            TopicPartition(self._topic, number, partition.top, _encode(partition))
            for number, partition in self._partitions.items()
        ]
        if not offsets:
            return
        try:
            for tp in self._consumer.commit(offsets=offsets, asynchronous=False) or []:
                if tp.error is not None:
                    raise KafkaException(tp.error)
        except KafkaException as error:
            raise _unknown(error.args[0].str()) from None

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def _encode(partition: PartitionLetters) -> str:
    text = base64.b85encode(zlib.compress(msgspec.msgpack.encode(partition), 9)).decode()
    if len(text) > MAX_METADATA_BYTES:
        raise NextclickError(
            f"{len(partition.left):,} letters were left without being replayed, too many to remember",
            "Nothing was sent that is not remembered.",
            "Give those up that cannot be corrected: `nextclick dlq replay --give-up`.",
        )
    return text


def _decode(text: str | None) -> PartitionLetters:
    try:
        return msgspec.msgpack.decode(zlib.decompress(base64.b85decode(text or "")), type=PartitionLetters)
    except (ValueError, zlib.error, msgspec.DecodeError) as error:
        raise NextclickError(
            f"what is remembered of the dead letters cannot be read: {error}",
            "Another program commits with this group, so it is not known what was replayed.",
            "Let that program use another group, and reset the offsets of this one by hand.",
        ) from None


def _unknown(why: str) -> NextclickError:
    return NextclickError(
        f"which letters were replayed is not known, or not kept: {why}",
        "A replay that begins again finds out how far this one came.",
        "Look at the brokers, then replay again.",
    )
