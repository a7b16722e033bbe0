"""Maps topics of one's own into `events`: keyed by the session, each record once.

The events and dead letters of a batch and the offsets that it was read up to are one transaction of
Kafka: all of them count, or none. A kill at any moment leaves a transaction that the brokers abort, and
the next start reads its records again. Several share the topics by their group. A partition whose next
record waits for a schema stands still; the others go on.

Tested by tests/faults/test_ingest.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, Message, TopicPartition

from stream.event_decoder import SchemaAwayError, kept_of
from stream.events import (
    MAX_LETTER_BYTES,
    MAX_LETTER_HEADER_BYTES,
    Event,
    LeftOutRecord,
    RejectedEvent,
    encode_event,
    message_time_ms,
)
from stream.failpoints import reach
from stream.ingest.group_progress import GroupProgress, consumer_config
from stream.ingest.ingest_report import IngestReport
from stream.ingest.listed_events import ListedEvents
from stream.ingest.transactions import RebalancedError, Transactions
from stream.kafka.consumers import committed_offsets, log_assigned, offset_bounds, raise_unless_transient
from stream.kafka.held_partitions import HeldPartitions
from stream.kafka.topic_id import SourceTopics
from stream.logs import happening
from stream.settings import Settings

BATCH_RECORDS = 2_000
IDLE_POLL_S = 0.2
# A transaction ends at so many events, however long the records are.
MOST_EVENTS = 20_000
logger = logging.getLogger(__name__)
Place = tuple[str, int]


@dataclass(frozen=True)
class _Outcome:
    """What a record becomes: events, or nothing for a reason; rejected ones are dead letters."""

    message: Message
    events: tuple[Event, ...] = ()
    reason: str = ""
    is_rejected: bool = False


class Ingester:
    """Ingests the topics of `mapped`; one thread, which calls `run`."""

    def __init__(
        self,
        settings: Settings,
        mapped: Mapping[str, ListedEvents],
        *,
        progress: Callable[[IngestReport], None] = lambda report: None,
    ) -> None:
        self._settings = settings
        self._mapped = mapped
        self._progress = progress
        self._positions: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self.report = IngestReport(taken_of=Counter(dict.fromkeys(mapped, 0)))

    def run(self, stopping: threading.Event, *, until_end: bool = False) -> IngestReport:
        """Ingest until `stopping`, or with `until_end` until everything that is there now has been.

        It has been when the group has committed it, whichever of its members ingested it. Raises
        NextclickError for a topic that is not there, and when Kafka refuses a transaction, of which nothing
        counts then.
        """
        self._consumer = Consumer(consumer_config(self._settings))
        self._held = {topic: HeldPartitions(topic, self._consumer) for topic in self._mapped}
        try:
            there = GroupProgress(self._settings, self._mapped)
            self._topics = SourceTopics(self._settings, self._mapped)
            self._transactions = Transactions(self._settings, "ingest")
            self._consumer.subscribe(
                list(self._mapped), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
            while not stopping.is_set():
                for held in self._held.values():
                    held.retry()
                messages = self._consumer.consume(BATCH_RECORDS, timeout=IDLE_POLL_S)
                self._take(messages)
                self._measure()
                self._progress(self.report)
                if until_end and not messages and there.is_done(self._positions, self._topics):
                    break
        finally:
            # Not closed but let go of: close() can wait forever in a rebalance. A static member leaves
            # nothing by it, and all that it has read is committed.
            self._held = {}
            del self._consumer
        return self.report

    def _take(self, messages: list[Message]) -> None:
        """A transaction, or several of long records: what they become, and the offsets after them."""
        outcomes: list[_Outcome] = []
        offsets: dict[Place, int] = {}
        gone: list[Place] = []
        events = 0
        for message in messages:
            error, place = message.error(), (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if place not in self._positions or place[1] in self._held[place[0]]:
                # Given up in the very call that returned it, or behind a record that waits: read again.
                continue
            if error is None:
                if offset < offsets.get(place, self._positions[place]):
                    # Fetched before the log was read from an earlier offset again.
                    continue
                outcome = self._outcome(message)
                if outcome is not None:
                    outcomes.append(outcome)
                    offsets[place] = offset + 1
                    events += len(outcome.events)
                if events >= MOST_EVENTS:
                    if not self._give_on(outcomes, offsets):
                        return
                    outcomes, offsets, events = [], {}, 0
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                # The last offsets may hold no records.
                if offset > offsets.get(place, self._positions[place]):
                    offsets[place] = offset
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                gone.append(place)
            else:
                raise_unless_transient(error, self._settings)
        if offsets and not self._give_on(outcomes, offsets):
            return
        # From the positions after what this batch had of them.
        for place in gone:
            if place in self._positions and place[1] not in self._held[place[0]]:
                self._read_from([self._start(*place, self._positions[place])])

    def _give_on(self, outcomes: list[_Outcome], offsets: dict[Place, int]) -> bool:
        """Whether the transaction counts; else everything is read again from what is committed."""
        count = IngestReport()
        # After the records were fetched: were a topic made anew before, they could be of the new one.
        self._topics.check()
        self._transactions.begin()
        for outcome in outcomes:
            self._produce(outcome, count)
        reach("ingest-1-produced")
        after = [self._topics.named(*place, offset) for place, offset in offsets.items()]
        try:
            self._transactions.commit(after, self._consumer.consumer_group_metadata())
        except RebalancedError:
            self.report.aborted += 1
            # All partitions: what the batch still holds of the others is read again, too.
            self._read_from([TopicPartition(*place, at) for place, at in self._positions.items()])
            return False
        self._positions |= offsets
        self.report.add(count)
        return True

    def _outcome(self, message: Message) -> _Outcome | None:
        """What a record becomes; None where its partition waits for the schema of the record."""
        topic, number, headers = message.topic() or "", message.partition() or 0, message.headers() or ()
        kind, timestamp_ms = message.timestamp()
        known: Any = (message.value(), message.key(), timestamp_ms if kind else None, headers)
        try:
            outcome = _Outcome(message, tuple(self._mapped[topic].events(*known)))
        except SchemaAwayError as away:
            self._held[topic].hold(number, message.offset() or 0, away)
            return None
        except LeftOutRecord as left_out:
            outcome = _Outcome(message, reason=left_out.reason)
        except RejectedEvent as rejected:
            outcome = _Outcome(message, reason=rejected.reason, is_rejected=True)
        self._held[topic].passed(number)
        return outcome

    def _produce(self, outcome: _Outcome, count: IngestReport) -> None:
        count.taken += 1
        count.taken_of[outcome.message.topic() or ""] += 1
        if outcome.is_rejected:
            count.dead_lettered[outcome.reason] += 1
            self._send_letter(outcome.message, outcome.reason)
        elif outcome.reason:
            count.left_out[outcome.reason] += 1
        else:
            count.given_on += 1
            count.events += len(outcome.events)
        for event in outcome.events:
            self._transactions.produce(
                self._settings.events_topic,
                encode_event(event),
                event.session_id.encode(),
                message_time_ms(event.event_time_ms),
            )

    def _send_letter(self, message: Message, reason: str) -> None:
        key, value = message.key(), message.value()
        headers: list[tuple[str, Any]] = [
            ("reason", reason.encode()),
            ("topic", (message.topic() or "").encode()),
            ("partition", b"%d" % (message.partition() or 0)),
            ("offset", b"%d" % (message.offset() or 0)),
        ]
        if len(key or b"") + len(value or b"") > MAX_LETTER_BYTES:
            headers.append(("cut_from", b"%d,%d" % (len(key or b""), len(value or b""))))
            key, value = (key or b"")[: MAX_LETTER_BYTES // 2], (value or b"")[: MAX_LETTER_BYTES // 2]
        else:
            kept = kept_of(message)
            if sum(len(name) + len(content or b"") for name, content in kept) <= MAX_LETTER_HEADER_BYTES:
                headers += kept
        self._transactions.produce(self._settings.dlq_topic, value, key, int(time.time() * 1000), headers)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = committed_offsets(consumer, partitions)
        starts = [self._begin(at) for at in committed]
        consumer.incremental_assign(starts)
        log_assigned(starts)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Nothing is under way between two batches: the next member goes on from what is committed."""
        for topic, held in self._held.items():
            numbers = {place.partition for place in partitions if place.topic == topic}
            held.release(numbers)
            held.forget(numbers)
        for place in partitions:
            self._positions.pop((place.topic, place.partition), None)
        consumer.incremental_unassign(partitions)

    def _begin(self, committed: TopicPartition) -> TopicPartition:
        """Where to begin with a partition: an offset of a topic before this one counts for nothing."""
        if committed.offset >= 0 and self._topics.is_of_another(committed):
            self.report.begun_anew += 1
            self._topics.log_other(committed)
            return self._start(committed.topic, committed.partition, OFFSET_INVALID)
        return self._start(committed.topic, committed.partition, committed.offset)

    def _start(self, topic: str, number: int, offset: int) -> TopicPartition:
        """Where to read a partition from; counts what the log no longer has of it."""
        low, high = offset_bounds(self._consumer, TopicPartition(topic, number))
        if 0 <= offset < low or offset > high:
            # Beyond the end: the topic was made anew, and is read from its beginning.
            self.report.lost += max(0, low - offset)
            logger.warning(
                "partition %d: events %d to %d are no longer in the log",
                number,
                offset,
                low,
                extra=happening("events_lost", topic=topic, partition=number, first=offset, end=low),
            )
        start = offset if low <= offset <= high else low
        self._positions[topic, number], self._ends[topic, number] = start, high
        return TopicPartition(topic, number, start)

    def _read_from(self, starts: list[TopicPartition]) -> None:
        """Read partitions of this ingester on from these offsets, also those that wait at a later one."""
        for at in starts:
            self._held[at.topic].release({at.partition})
        self._consumer.incremental_unassign([TopicPartition(at.topic, at.partition) for at in starts])
        self._consumer.incremental_assign(starts)

    def _measure(self) -> None:
        """Count the records of these partitions that are not taken, as of the newest fetch."""
        lag = dict.fromkeys(self._mapped, 0)
        for (topic, number), position in self._positions.items():
            _, newest = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            end = self._ends[topic, number] = max(newest, self._ends[topic, number])
            lag[topic] += max(0, end - position)
        # At once: a scrape may come at any moment.
        self.report.lag, self.report.lag_of = sum(lag.values()), lag
        waiting = [why for held in self._held.values() for why in held.waiting.values()]
        self.report.waiting = "; ".join(sorted(set(waiting)))
