"""Maps topics of one's own into `events`: keyed by the session, each record once.

The events and dead letters of a batch and the offsets that it was read up to are one transaction of
Kafka: all of them count, or none. A kill at any moment leaves a transaction that the brokers abort, and
the next start reads its records again. Several share the topics by their group.

Tested by tests/faults/test_ingest.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from model.errors import NextclickError
from stream.event_decoder import SCHEMA_WAIT_S, Headers, SchemaAwayError, kept_of
from stream.events import Event, LeftOutRecord, RejectedEvent, encode_event, message_time_ms
from stream.failpoints import reach
from stream.ingest.listed_events import ListedEvents
from stream.kafka.connection import remedy_for
from stream.kafka.consumers import log_assigned, offset_bounds, raise_unless_transient
from stream.logs import happening
from stream.settings import Settings

BATCH_RECORDS = 2_000
IDLE_POLL_S = 0.2
TRANSACTION_S = 60.0
# Of a letter: below the brokers' limit of 1 MiB, with its headers.
MAX_LETTER_BYTES = 900_000
logger = logging.getLogger(__name__)


@dataclass
class IngestReport:
    """What became of the records, counted once it is committed.

    taken = given on + left out + dead-lettered; a record that was given on is one event or several.
    """

    taken: int = 0
    given_on: int = 0
    events: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    lag: int = 0
    waiting: str = ""

    @property
    def difference(self) -> int:
        """Records taken that nothing accounts for: other than 0 is a defect."""
        return self.taken - self.given_on - self.left_out.total() - self.dead_lettered.total()


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
        self._positions: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self.report = IngestReport()

    def run(self, stopping: threading.Event, *, until_end: bool = False) -> IngestReport:
        """Ingest until `stopping`, or with `until_end` until everything that is there now has been.

        Raises NextclickError when Kafka refuses a transaction; nothing of it counts then.
        """
        self._consumer = Consumer(_consumer_config(self._settings))
        self._producer = Producer(_producer_config(self._settings))
        try:
            self._transact(lambda: self._producer.init_transactions(TRANSACTION_S))
            self._consumer.subscribe(list(self._mapped), on_assign=self._assigned)
            while not stopping.is_set():
                messages = self._records(self._consumer.consume(BATCH_RECORDS, timeout=IDLE_POLL_S))
                if messages:
                    self._give_on(messages, stopping)
                self._measure()
                self._progress(self.report)
                if until_end and not messages and self._consumer.assignment() and not self.report.lag:
                    break
        finally:
            self._consumer.close()
        return self.report

    def _records(self, messages: list[Message]) -> list[Message]:
        """The records among the messages; the others say where partitions end, or what is wrong."""
        found: list[Message] = []
        for message in messages:
            error, place = message.error(), (message.topic() or "", message.partition() or 0)
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                self._positions[place] = message.offset() or 0
            else:
                raise_unless_transient(error, self._settings)
        return found

    def _give_on(self, messages: list[Message], stopping: threading.Event) -> None:
        """One transaction: what the records become, and the offsets after them."""
        count = IngestReport()
        self._producer.begin_transaction()
        for message in messages:
            events = self._events(message, count, stopping)
            if events is None:
                # Ended while a schema was waited for: nothing of this transaction counts.
                self._producer.abort_transaction(TRANSACTION_S)
                return
            for event in events:
                self._produce(
                    self._settings.events_topic,
                    encode_event(event),
                    event.session_id.encode(),
                    message_time_ms(event.event_time_ms),
                )
        reach("ingest-1-produced")
        places = {(message.topic() or "", message.partition() or 0): message for message in messages}
        offsets = [
            TopicPartition(topic, number, (message.offset() or 0) + 1)
            for (topic, number), message in places.items()
        ]
        group = self._consumer.consumer_group_metadata()
        self._transact(lambda: self._producer.send_offsets_to_transaction(offsets, group, TRANSACTION_S))
        reach("ingest-2-offsets-sent")
        self._transact(lambda: self._producer.commit_transaction(TRANSACTION_S))
        reach("ingest-3-committed")
        for offset in offsets:
            self._positions[offset.topic, offset.partition] = offset.offset
        report = self.report
        report.taken += len(messages)
        report.given_on += count.given_on
        report.events += count.events
        report.left_out += count.left_out
        report.dead_lettered += count.dead_lettered

    def _events(self, message: Message, count: IngestReport, stopping: threading.Event) -> list[Event] | None:
        """The events of a record; counts what it becomes. None when it is stopped while it waits."""
        topic, headers = message.topic() or "", message.headers() or ()
        kind, timestamp_ms = message.timestamp()
        known: Any = (message.value(), message.key(), timestamp_ms if kind else None, headers)
        while True:
            try:
                events = self._mapped[topic].events(*known)
            except SchemaAwayError as away:
                self._wait(topic, away, stopping)
                if stopping.is_set():
                    return None
                continue
            except LeftOutRecord as left_out:
                count.left_out[left_out.reason] += 1
                events = []
            except RejectedEvent as rejected:
                count.dead_lettered[rejected.reason] += 1
                self._send_letter(message, rejected.reason)
                events = []
            else:
                count.given_on += 1
                count.events += len(events)
            self.report.waiting = ""
            return events

    def _wait(self, topic: str, away: SchemaAwayError, stopping: threading.Event) -> None:
        if not self.report.waiting:
            logger.warning(
                "reading waits: schema %d is not known: %s",
                away.schema_id,
                away.why,
                extra=happening("schema_awaited", topic=topic, schema=away.schema_id, error=away.why),
            )
        self.report.waiting = str(away)
        stopping.wait(SCHEMA_WAIT_S)

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
            headers += kept_of(message)
        self._produce(self._settings.dlq_topic, value, key, int(time.time() * 1000), headers)

    def _produce(self, topic: str, value: Any, key: Any, timestamp_ms: int, headers: Headers = ()) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, timestamp=timestamp_ms, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise _refused(error.args[0]) from None

    def _transact(self, ask: Callable[[], object]) -> None:
        """Ask until the brokers have answered; an error that does not pass ends the process."""
        while True:
            try:
                ask()
                return
            except KafkaException as error:
                problem = error.args[0]
                if not problem.retriable():
                    raise _refused(problem) from None
                logger.warning(
                    "%s: %s; asking again",
                    "a transaction",
                    problem.str(),
                    extra=happening("transaction_repeated", error=problem.name()),
                )

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in consumer.committed(partitions, timeout=TRANSACTION_S):
            low, high = offset_bounds(consumer, place)
            if 0 <= place.offset < low:
                self.report.lost += low - place.offset
                logger.warning(
                    "partition %d: events %d to %d are no longer in the log",
                    place.partition,
                    place.offset,
                    low,
                    extra=happening("events_lost", partition=place.partition, first=place.offset, end=low),
                )
            self._positions[place.topic, place.partition] = max(place.offset, low)
            self._ends[place.topic, place.partition] = high
        log_assigned(partitions)

    def _measure(self) -> None:
        """Count the records of these partitions that are not taken, as of the newest fetch."""
        self.report.lag = 0
        for place in self._consumer.assignment():
            one = TopicPartition(place.topic, place.partition)
            _, newest = self._consumer.get_watermark_offsets(one, cached=True)
            end = max(newest, self._ends[place.topic, place.partition])
            self.report.lag += max(0, end - self._positions[place.topic, place.partition])


def _consumer_config(settings: Settings) -> dict[str, Any]:
    return {
        **settings.kafka_config(),
        "group.id": f"{settings.group_id}-ingest",
        "group.instance.id": f"{settings.worker_id}-ingest",
        "partition.assignment.strategy": "range",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "session.timeout.ms": settings.session_timeout_ms,
        "max.poll.interval.ms": max(300_000, settings.session_timeout_ms),
    }


def _producer_config(settings: Settings) -> dict[str, Any]:
    most_ms = int(TRANSACTION_S * 1000)
    return {
        **settings.producer_config(),
        # A restart by this name ends what the process before it left open.
        "transactional.id": f"{settings.group_id}-ingest-{settings.worker_id}",
        "transaction.timeout.ms": most_ms,
        "message.timeout.ms": most_ms,
        "linger.ms": 5,
    }


def _refused(problem: KafkaError) -> NextclickError:
    return NextclickError(
        f"a transaction was refused: {problem.str()}",
        "Nothing of it counts; its records are read again after a restart. Another process of the same "
        "--worker-id takes its place, or the group has given its partitions to others.",
        remedy_for(problem, "Give each `nextclick ingest` its own --worker-id, then start it again."),
    )
