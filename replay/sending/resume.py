"""Resume an interrupted replay: its checkpoint, and the events it sent after the checkpoint.

A checkpoint holds a row of the log and the end offsets of the topic, taken when every event before that
row was acknowledged. A killed replay has sent more: those records follow the checkpoint's offsets,
each session's in order and without gaps. They are compared, session by session, with the log from that
row on, and events that the topic has already are not sent again. Records need no mark for this, and
records of other writers between them do no harm.

Tested by tests/faults/test_interrupted_replay.py and tests/unit/replay/sending/test_resume.py.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from model.errors import NextclickError
from replay.sending.checkpoint import TOPIC_ID, CheckpointFile, Position
from replay.sending.encoding import EncodedEvents
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.retries import is_transient, retry_while_away
from stream.kafka.topic_id import ask_topic_id
from stream.settings import Settings

LATEST, EARLIEST = OffsetSpec.latest(), OffsetSpec.earliest()  # type: ignore[no-untyped-call]
CHECKPOINT_EVENTS = 250_000
CHECKPOINT_EVERY_S = 5.0
# The last requests of a killed replay may still arrive: the ends must not move for STABLE_S.
STABLE_S = 1.0
STABLE_TIMEOUT_S = 10.0
# In the place of an id: a checkpoint that names a topic is of another one.
NO_TOPIC = "no topic"
MAX_RECORDS_AFTER_CHECKPOINT = 2_000_000
# After this many events without a match the comparison ends. It is more than a producer can hold for
# the partitions that answer while another one does not.
UNMATCHED_EVENTS = 1_000_000
NO_ANSWER_MEANING = "Without it, events could be lost or repeated; the checkpoint is as it was."
NO_ANSWER_REMEDY = "Look at the brokers, then start the same replay again."


class ResumeState:
    """What a replay knows of the topic, which it knows by its id. `position` is that of the last checkpoint.

    `found` counts the events that an interrupted replay had sent after its last checkpoint, `others`
    the records of other writers that came into the topic meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: CheckpointFile,
        identity: dict[str, Any],
    ) -> None:
        self._settings = settings
        self._checkpoint = checkpoint
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        self._identity = {
            **identity,
            "topic": settings.events_topic,
            "cluster": self._cluster(),
            TOPIC_ID: self._topic_id(),
        }
        self._records_after: dict[bytes, deque[bytes]] = {}
        self._unmatched = 0
        self._ends: dict[int, int] = {}
        self._sent_before = 0
        self._written_s = time.monotonic()
        self.found = 0
        self.others = 0
        kept = checkpoint.read(self._identity)
        self.resumed = kept is not None
        self.position = kept or Position()

    def begin(self, position: Position) -> None:
        """Write the checkpoint of a new replay, or read the records after that of a resumed one.

        Raises NextclickError when the topic no longer has the records that the checkpoint needs.
        """
        if self.resumed:
            self._read_records_after_checkpoint()
            return
        # The topic may have been made since.
        self._identity[TOPIC_ID] = self._topic_id()
        self._ends = self._offsets(LATEST)
        self._write(replace(position, offsets=self._ends))

    def check_last_event(self, before: EncodedEvents) -> None:
        """Check the event before the position. Raises NextclickError when the log has another one there."""
        if digest_of(before) != self.position.last:
            raise NextclickError(
                f"event {self.position.row:,} of the log is another one than when it was sent",
                "The files, or how they are read, have changed; what is left to send is not known.",
                "Bring back the files and the program of then, or replay into an empty topic.",
            )

    def not_in_topic(self, events: EncodedEvents) -> EncodedEvents:
        """The next events without those that the topic has already."""
        if not self._records_after:
            return events
        rows = [
            row
            for row, (key, value) in enumerate(zip(events.keys, events.values, strict=True))
            if not self._in_topic(key, value)
        ]
        self._unmatched = 0 if len(rows) < len(events) else self._unmatched + len(events)
        self.found += len(events) - len(rows)
        if self._unmatched > UNMATCHED_EVENTS:
            self._end_comparison()
        return events.take(rows)

    def checkpoint_due(self, sent: int) -> bool:
        """Whether it is time for a checkpoint, with `sent` events sent in all."""
        if sent - self._sent_before >= CHECKPOINT_EVENTS:
            return True
        return sent > self._sent_before and time.monotonic() - self._written_s >= CHECKPOINT_EVERY_S

    def write_checkpoint(self, position: Position, sent: int) -> None:
        """Write a checkpoint; all `sent` events must be acknowledged, and the producer empty."""
        ends = self._offsets(LATEST)
        came = sum(ends.values()) - sum(self._ends.values())
        self.others += came - (sent - self._sent_before)
        self._ends, self._sent_before = ends, sent
        if self._records_after and not position.finished:
            # Records after the old offsets are not all compared yet.
            return
        if position.finished:
            self._end_comparison()
        self._write(replace(position, offsets=ends))

    def _write(self, position: Position) -> None:
        self._checkpoint.write(self._identity, position)
        self.position = position
        self._written_s = time.monotonic()

    def _in_topic(self, key: bytes, value: bytes) -> bool:
        records = self._records_after.get(key)
        if records is None:
            return False
        while records:
            if records.popleft() == value:
                if not records:
                    del self._records_after[key]
                return True
            self.others += 1
        # The session's later events are not there either: an equal record is another writer's.
        del self._records_after[key]
        return False

    def _end_comparison(self) -> None:
        self.others += sum(len(records) for records in self._records_after.values())
        self._records_after.clear()

    def _read_records_after_checkpoint(self) -> None:
        kept = self.position.offsets
        oldest, ends = self._offsets(EARLIEST), self._stable_ends()
        if ends.keys() != kept.keys() or any(ends[number] < offset for number, offset in kept.items()):
            raise NextclickError(
                f"topic {self._settings.events_topic} is another one than the checkpoint's, or was emptied",
                "It ends before what was sent to it; nothing was sent.",
                "Replay into it with a new --checkpoint.",
            )
        if any(oldest[number] > offset for number, offset in kept.items()):
            raise NextclickError(
                f"topic {self._settings.events_topic} has deleted records behind the checkpoint's offsets",
                "It cannot be told which events it held; nothing was sent.",
                "Set its retention.ms to -1, and replay into an empty topic.",
            )
        self._ends = ends
        count = sum(ends.values()) - sum(kept.values())
        if count > MAX_RECORDS_AFTER_CHECKPOINT:
            raise NextclickError(
                f"{count:,} records lie behind the checkpoint, more than {MAX_RECORDS_AFTER_CHECKPOINT:,}",
                "It is too old, or others write to the topic; comparing them would take too much memory.",
                "Bring back a newer checkpoint, or replay into an empty topic.",
            )
        if count:
            self._consume(kept, ends)

    def _stable_ends(self) -> dict[int, int]:
        """The end offsets of the topic once they stand still, at the latest after STABLE_TIMEOUT_S."""
        ends, since_s = self._offsets(LATEST), time.monotonic()
        deadline_s = since_s + STABLE_TIMEOUT_S
        while time.monotonic() < min(since_s + STABLE_S, deadline_s):
            self._admin.poll(0.1)
            now = self._offsets(LATEST)
            if now != ends:
                ends, since_s = now, time.monotonic()
        return ends

    def _consume(self, kept: dict[int, int], ends: dict[int, int]) -> None:
        topic = self._settings.events_topic
        consumer = Consumer(
            {**self._settings.kafka_config(), "group.id": "nextclick-replay", "enable.auto.commit": False}
        )
        try:
            partitions = [TopicPartition(topic, n, offset) for n, offset in kept.items() if ends[n] > offset]
            consumer.assign(partitions)
            left = {partition.partition for partition in partitions}
            deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
            while left:
                for message in consumer.consume(10_000, timeout=0.1):
                    if (error := message.error()) is not None:
                        if is_transient(error):
                            continue
                        raise KafkaException(error)
                    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
                    number, offset = message.partition() or 0, message.offset() or 0
                    if offset < ends[number]:
                        self._records_after.setdefault(message.key() or b"", deque()).append(
                            message.value() or b""
                        )
                for partition in consumer.position(partitions):
                    if partition.offset >= ends[partition.partition]:
                        left.discard(partition.partition)
                if time.monotonic() > deadline_s:
                    raise TimeoutError
        except (KafkaException, TimeoutError) as error:
            raise self._no_answer(error) from None
        finally:
            consumer.close()

    def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        places = {
            TopicPartition(self._settings.events_topic, number): spec
            for number in range(self._settings.partitions)
        }

        def ask() -> dict[int, int]:
            answers = self._admin.list_offsets(places, request_timeout=ANSWER_TIMEOUT_S)
            return {place.partition: int(future.result().offset) for place, future in answers.items()}

        # A topic that was just made, or a leader that moves, has a partition without a leader for a moment.
        return retry_while_away(
            ask,
            f"reading the offsets of {self._settings.events_topic}",
            meaning=NO_ANSWER_MEANING,
            remedy=NO_ANSWER_REMEDY,
        )

    def _cluster(self) -> str:
        try:
            return str(self._admin.list_topics(timeout=ANSWER_TIMEOUT_S).cluster_id)
        except KafkaException as error:
            raise self._no_answer(error) from None

    def _topic_id(self) -> str:
        """The topic's id, NO_TOPIC without the topic."""

        def ask() -> str:
            try:
                return ask_topic_id(self._admin, self._settings.events_topic)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return NO_TOPIC
                raise

        return retry_while_away(
            ask,
            f"asking for the id of the topic {self._settings.events_topic}",
            meaning=NO_ANSWER_MEANING,
            remedy=NO_ANSWER_REMEDY,
        )

    def _no_answer(self, error: Exception) -> NextclickError:
        said = error.args[0].str() if isinstance(error, KafkaException) else "no record came"
        return NextclickError(
            f"what topic {self._settings.events_topic} holds is not known: {said}",
            NO_ANSWER_MEANING,
            NO_ANSWER_REMEDY,
        )


def digest_of(events: EncodedEvents) -> str:
    """A digest that identifies the last of the events; "" without events."""
    if not len(events):
        return ""
    key, value, time_ms = events.keys[-1], events.values[-1], events.times_ms[-1]
    return hashlib.sha256(b"%d %d %b%b" % (time_ms, len(key), key, value)).hexdigest()
