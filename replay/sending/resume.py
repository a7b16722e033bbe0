"""What the topic holds of a replay: kept in its checkpoint, and found again after an interruption.

From time to time the producer is emptied, and the topic's ends are kept with the row of the log:
everything before is in the topic. A replay that was killed has sent more than that. Its records
lie behind the kept offsets, each session's in order, with none missing between them; so what is
behind is compared, session by session, with the log from that row on, and what is there already is not
sent again. No record carries a mark for this, and records of other writers between them do no harm.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from model.errors import NextclickError
from replay.sending.checkpoint import CheckpointFile, Position
from replay.sending.encoding import EncodedEvents
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.settings import Settings

LATEST, EARLIEST = OffsetSpec.latest(), OffsetSpec.earliest()  # type: ignore[no-untyped-call]
CHECKPOINT_EVENTS = 250_000
CHECKPOINT_EVERY_S = 5.0
# A killed replay's last requests may still be on their way into the topic.
SETTLED_S = 1.0
SETTLE_TIMEOUT_S = 10.0
MOST_BEHIND = 2_000_000
# More events than wait in a producer, of one partition in many, while another one does not answer.
QUIET_EVENTS = 1_000_000


class ResumeState:
    """The account of one replay. `position` is what the checkpoint says now.

    `found` counts events that an interrupted replay had sent behind its last checkpoint, `others`
    records that came into the topic meanwhile and are none of this replay's.
    """

    def __init__(
        self,
        settings: Settings,
        file: CheckpointFile,
        identity: dict[str, Any],
    ) -> None:
        self._settings = settings
        self._file = file
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        self._identity = {**identity, "topic": settings.events_topic, "cluster": self._cluster()}
        self._behind: dict[bytes, deque[bytes]] = {}
        self._quiet = 0
        self._ends: dict[int, int] = {}
        self._sent_before = 0
        self._written_s = time.monotonic()
        self.found = 0
        self.others = 0
        kept = file.read(self._identity)
        self.resumed = kept is not None
        self.position = kept or Position()

    def begin(self, position: Position) -> None:
        """Keep the position of a new replay, or find what lies in the topic behind that of an old one.

        Raises NextclickError when the topic no longer has what the checkpoint needs.
        """
        if self.resumed:
            self._read_behind()
            return
        self._ends = self._offsets(LATEST)
        self._write(replace(position, offsets=self._ends))

    def continues(self, before: EncodedEvents) -> None:
        """Check the event before the position. Raises NextclickError when the log gives another one now."""
        if digest_of(before) != self.position.last:
            raise NextclickError(
                f"event {self.position.row:,} of the log is another one than when it was sent",
                "The files, or how they are read, have changed; what is left to send is not known.",
                "Bring back the files and the program of then, or replay into an empty topic.",
            )

    def missing(self, events: EncodedEvents) -> EncodedEvents:
        """Those of the next events that are not in the topic."""
        if not self._behind:
            return events
        rows = [
            row
            for row, (key, value) in enumerate(zip(events.keys, events.values, strict=True))
            if not self._is_there(key, value)
        ]
        self._quiet = 0 if len(rows) < len(events) else self._quiet + len(events)
        self.found += len(events) - len(rows)
        if self._quiet > QUIET_EVENTS:
            self._end_comparison()
        return events.take(rows)

    def due(self, sent: int) -> bool:
        """Whether, after so many events sent in all, it is time to keep the position."""
        if sent - self._sent_before >= CHECKPOINT_EVENTS:
            return True
        return sent > self._sent_before and time.monotonic() - self._written_s >= CHECKPOINT_EVERY_S

    def keep(self, position: Position, sent: int) -> None:
        """Keep a position; every one of the `sent` events must be sure, and the producer empty."""
        ends = self._offsets(LATEST)
        came = sum(ends.values()) - sum(self._ends.values())
        self.others += came - (sent - self._sent_before)
        self._ends, self._sent_before = ends, sent
        if self._behind and not position.finished:
            # Records behind the old offsets are not compared yet.
            return
        if position.finished:
            self._end_comparison()
        self._write(replace(position, offsets=ends))

    def _write(self, position: Position) -> None:
        self._file.write(self._identity, position)
        self.position = position
        self._written_s = time.monotonic()

    def _is_there(self, key: bytes, value: bytes) -> bool:
        records = self._behind.get(key)
        if records is None:
            return False
        while records:
            if records.popleft() == value:
                if not records:
                    del self._behind[key]
                return True
            self.others += 1
        # A session's later events are not there either: what is equal to one is another's.
        del self._behind[key]
        return False

    def _end_comparison(self) -> None:
        self.others += sum(len(records) for records in self._behind.values())
        self._behind.clear()

    def _read_behind(self) -> None:
        kept = self.position.offsets
        oldest, ends = self._offsets(EARLIEST), self._settled()
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
        behind = sum(ends.values()) - sum(kept.values())
        if behind > MOST_BEHIND:
            raise NextclickError(
                f"{behind:,} records lie behind the checkpoint, more than {MOST_BEHIND:,}",
                "It is too old, or others write to the topic; comparing them would take too much memory.",
                "Bring back a newer checkpoint, or replay into an empty topic.",
            )
        if behind:
            self._consume(kept, ends)

    def _settled(self) -> dict[int, int]:
        """The topic's ends, when they have stood still for a while; when they never do, others write."""
        ends, since_s = self._offsets(LATEST), time.monotonic()
        deadline_s = since_s + SETTLE_TIMEOUT_S
        while time.monotonic() < min(since_s + SETTLED_S, deadline_s):
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
            places = [TopicPartition(topic, n, offset) for n, offset in kept.items() if ends[n] > offset]
            consumer.assign(places)
            left = {place.partition for place in places}
            deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
            while left:
                messages = consumer.consume(10_000, timeout=0.1)
                for message in messages:
                    if (error := message.error()) is not None:
                        raise KafkaException(error)
                    number, offset = message.partition() or 0, message.offset() or 0
                    if offset < ends[number]:
                        self._behind.setdefault(message.key() or b"", deque()).append(message.value() or b"")
                for place in consumer.position(places):
                    if place.offset >= ends[place.partition]:
                        left.discard(place.partition)
                if messages:
                    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
                elif time.monotonic() > deadline_s:
                    raise TimeoutError
        except (KafkaException, TimeoutError) as error:
            raise self._silent(error) from None
        finally:
            consumer.close()

    def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        places = {
            TopicPartition(self._settings.events_topic, number): spec
            for number in range(self._settings.partitions)
        }
        try:
            answers = self._admin.list_offsets(places, request_timeout=ANSWER_TIMEOUT_S)
            return {place.partition: int(future.result().offset) for place, future in answers.items()}
        except KafkaException as error:
            raise self._silent(error) from None

    def _cluster(self) -> str:
        try:
            return str(self._admin.list_topics(timeout=ANSWER_TIMEOUT_S).cluster_id)
        except KafkaException as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> NextclickError:
        said = error.args[0].str() if isinstance(error, KafkaException) else "no record came"
        return NextclickError(
            f"what topic {self._settings.events_topic} holds is not known: {said}",
            "Without it, events could be lost or repeated; the checkpoint is as it was.",
            "Look at the brokers, then start the same replay again.",
        )


def digest_of(events: EncodedEvents) -> str:
    """What the last of some events is known by; "" of none."""
    if not len(events):
        return ""
    key, value, time_ms = events.keys[-1], events.values[-1], events.times_ms[-1]
    return hashlib.sha256(b"%d %d %b%b" % (time_ms, len(key), key, value)).hexdigest()
