"""What has become of the dead letters: which were replayed, kept as commits of a group of its own.

Of each partition of `events-dlq` the committed offset lies behind the newest letter that was looked
at; the commit's metadata name those before it that were left, and the batch that was being sent.
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
    """A batch under way: its letters' offsets, and where the partitions of `events` ended before it."""

    offsets: list[int]
    ends: dict[int, int]


class Memory(msgspec.Struct, array_like=True):
    """Of one partition: letters below `top` are done, but those `left`."""

    top: int = 0
    left: set[int] = msgspec.field(default_factory=set)
    sending: Sending | None = None

    def is_done(self, offset: int) -> bool:
        """Whether nothing is to be done with this letter any more."""
        return offset < self.top and offset not in self.left

    def settle(self, offsets: Iterable[int]) -> None:
        """These letters are done."""
        self.left.difference_update(offsets)

    def look_at(self, offsets: Iterable[int]) -> None:
        """Take letters up that are new: they are left, until they are done."""
        for offset in sorted(offsets):
            if offset >= self.top:
                self.left.add(offset)
                self.top = offset + 1


class LetterMemory:
    """The memories of all partitions. One replay at a time: two would not see each other's."""

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
        self._partitions: dict[int, Memory] = {}

    def load(self, letters: list[Letter]) -> None:
        """Read what is known of these letters. Raises NextclickError without an answer."""
        present: dict[int, set[int]] = {}
        for letter in letters:
            present.setdefault(letter.partition, set()).add(letter.offset)
        places = [TopicPartition(self._topic, number) for number in present]
        try:
            answers = self._consumer.committed(places, timeout=ANSWER_TIMEOUT_S) if places else []
        except KafkaException as error:
            raise _unknown(error.args[0].str()) from None
        for tp in answers:
            memory = _decode(tp.metadata) if tp.offset >= 0 else Memory()
            # What retention has taken need not be remembered.
            memory.left &= present[tp.partition]
            memory.look_at(present[tp.partition])
            self._partitions[tp.partition] = memory

    def of(self, number: int) -> Memory:
        """The memory of a partition."""
        return self._partitions[number]

    def unfinished(self) -> dict[int, Sending]:
        """Batches of which it is not known how far they were sent."""
        return {n: memory.sending for n, memory in self._partitions.items() if memory.sending}

    def is_done(self, letter: Letter) -> bool:
        """Whether nothing is to be done with it any more."""
        return self._partitions[letter.partition].is_done(letter.offset)

    def save(self) -> None:
        """Commit all that changed. Raises NextclickError when it is not kept."""
        offsets = [
            TopicPartition(self._topic, number, memory.top, _encode(memory))
            for number, memory in self._partitions.items()
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


def _encode(memory: Memory) -> str:
    text = base64.b85encode(zlib.compress(msgspec.msgpack.encode(memory), 9)).decode()
    if len(text) > MAX_METADATA_BYTES:
        raise NextclickError(
            f"{len(memory.left):,} letters were left without being replayed, too many to remember",
            "Nothing was sent that is not remembered.",
            "Give those up that cannot be corrected: `nextclick dlq replay --give-up`.",
        )
    return text


def _decode(text: str | None) -> Memory:
    try:
        return msgspec.msgpack.decode(zlib.decompress(base64.b85decode(text or "")), type=Memory)
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
