"""Records what came of each list: a process of its own, of which the workers know nothing.

It reads `recommendations` and `events`, joins them by partition (see `outcome_join`) and writes `outcomes`.
The outcomes of a batch and the offsets of both topics are one transaction of Kafka, with what is read again
after a restart beside them: a kill at any moment loses no list and counts none twice. Several share the
partitions by their group; partitions that change hands are read again from what is committed.

Tested by tests/unit/stream/outcomes/test_outcome_recorder.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from stream.event_decoder import EventDecoder, event_of
from stream.events import Event, RejectedEvent, check_time
from stream.failpoints import reach
from stream.ingest.transactions import RebalancedError, Transactions
from stream.kafka.consumers import committed_offsets, log_assigned, offset_bounds, raise_unless_transient
from stream.kafka.topic_id import topic_id
from stream.logs import happening
from stream.outcomes.kept_events import KeptEvents
from stream.outcomes.list_record import list_of
from stream.outcomes.other_recorders import OtherRecorders
from stream.outcomes.outcome import encode_outcome
from stream.outcomes.outcome_join import DISORDER, MOST_EVENTS, OutcomeJoin
from stream.outcomes.outcome_report import OutcomeReport
from stream.outcomes.recorded_partition import (
    JoinedTopics,
    RecordedPartition,
    made_anew,
    resumed_partition,
)
from stream.outcomes.recorder_offsets import consumer_config
from stream.settings import Settings

BATCH_RECORDS = 2_000
IDLE_POLL_S = 0.2
# Between two transactions, unless a batch of outcomes is full.
COMMIT_S = 1.0
# Lists of a partition that are held in memory while their time is not over.
MOST_WAITING = 2_000
COMMAND = "outcomes"
logger = logging.getLogger(__name__)


class OutcomeRecorder:
    """Records the outcomes of the partitions that the group gives it; one thread, which calls `run`."""

    def __init__(
        self,
        settings: Settings,
        decoder: EventDecoder,
        *,
        progress: Callable[[OutcomeReport], None] = lambda report: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._decoder, self._progress = settings, decoder, progress
        self._within_ms, self._clock_s = int(settings.outcomes_within_s * 1000), clock_s
        self._lateness_ms = int(settings.allowed_lateness_s * 1000)
        self._partitions: dict[int, RecordedPartition] = {}
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        self._others, self._has_no_part = OtherRecorders(self._admin, settings, COMMAND), False
        self._committed: list[tuple[str, int, int, str | None]] = []
        self.report = OutcomeReport()

    def run(self, stopping: threading.Event, *, until_end: bool = False) -> OutcomeReport:
        """Record until `stopping`, or with `until_end` until no list of these logs can be closed.

        Raises NextclickError when Kafka refuses a transaction, or a topic was made anew: of the batch
        nothing counts then.
        """
        settings = self._settings
        names = settings.events_topic, settings.recommendations_topic
        self._topics = JoinedTopics(*names, {topic: topic_id(settings, topic) for topic in names})
        self._consumer = Consumer(consumer_config(settings))
        try:
            self._transactions = Transactions(settings, COMMAND)
            self._consumer.subscribe(
                [self._topics.events, self._topics.lists],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._revoked,
            )
            committed_s = self._clock_s()
            while not stopping.is_set():
                for message in self._consumer.consume(BATCH_RECORDS, timeout=IDLE_POLL_S):
                    self._add(message)
                waiting = sum(self._join(one, number) for number, one in tuple(self._partitions.items()))
                is_done = until_end and self._is_done()
                if is_done or waiting >= BATCH_RECORDS or self._clock_s() - committed_s >= COMMIT_S:
                    is_done = self._commit() and is_done
                    committed_s = self._clock_s()
                self._measure()
                self._progress(self.report)
                if is_done:
                    break
            self._commit()
        finally:
            # Not closed but let go of, as by ingesters: all that counts is committed.
            del self._consumer
        return self.report

    def _add(self, message: Message) -> None:
        error, topic, number = message.error(), message.topic() or "", message.partition() or 0
        one, offset = self._partitions.get(number), message.offset() or 0
        if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            if one is not None:
                self._pass_over_lost(one, topic, number)
        elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise_unless_transient(error, self._settings)
        elif one is None:
            # Given up in the very call that returned it.
            return
        elif error is not None:
            one.end(topic, offset, self._topics)
        elif topic == self._topics.events:
            if offset >= one.next_event:
                one.ended.discard(topic)
                one.newest_s, one.next_event = self._clock_s(), offset + 1
                one.join.add_event(offset, self._event_of(message, one.join.kept.watermark.ms))
        elif offset >= one.next_list:
            one.ended.discard(topic)
            one.next_list = offset + 1
            one.join.add_list(list_of(message, again=offset < one.again_until))

    def _event_of(self, message: Message, watermark_ms: int) -> Event | None:
        """The event that a worker makes of the record; None where it makes none."""
        newest_ms = max(int(time.time() * 1000), watermark_ms)
        try:
            event = event_of(self._decoder, message)
            check_time(
                event, self._settings.min_event_time_ms, newest_ms + int(self._settings.max_future_s * 1000)
            )
        except RejectedEvent:
            # Its dead letter is the worker's.
            return None
        return event

    def _join(self, one: RecordedPartition, number: int) -> int:
        """Make the outcomes of a partition, hold back what is ahead; returns how many wait to be written."""
        if one.join.waiting and one.join.waiting[0].event_offset >= one.join.kept.end:
            self._read_on_near(one, number)
        idle_s, silent_s = self._settings.idle_expiry_s, self._clock_s() - one.newest_s
        if idle_s is not None and silent_s >= idle_s and self._topics.events in one.ended:
            one.join.pass_time(int(silent_s * 1000))
            one.newest_s = self._clock_s()
        one.outcomes += one.join.outcomes()
        self._hold_back(one, number, self._topics.lists, len(one.join.waiting) >= MOST_WAITING)
        # Without lists nothing tells which events are needed.
        self._hold_back(one, number, self._topics.events, one.join.is_full and not one.join.waiting)
        return len(one.outcomes)

    def _read_on_near(self, one: RecordedPartition, number: int) -> None:
        """The next list's event is not read yet: skip those long before it, or find that there is none."""
        event_offset, end = one.join.waiting[0].event_offset, one.join.kept.end
        is_far = event_offset > max(end, one.next_event) + 2 * DISORDER
        if not is_far and self._topics.events not in one.ended:
            return
        # A list is published after its event: the log has it by now, or never.
        low, high = offset_bounds(self._consumer, TopicPartition(self._topics.events, number))
        if event_offset >= high:
            one.join.leave_out_unknown(high)
        elif is_far:
            one.next_event = max(low, event_offset - DISORDER)
            one.join.begin_anew(one.next_event)
            self._read_on()

    def _hold_back(self, one: RecordedPartition, number: int, topic: str, is_held: bool) -> None:
        if is_held != (topic in one.paused):
            place = [TopicPartition(topic, number)]
            if is_held:
                self._consumer.pause(place)
                one.paused.add(topic)
            else:
                self._consumer.resume(place)
                one.paused.discard(topic)

    def _commit(self) -> bool:
        """One transaction: the outcomes, and the offsets of both topics with what is read again.

        Returns whether it counts; else the group gives the partitions anew, and all is read again.
        """
        partitions = self._partitions
        offsets = [at for number, one in partitions.items() for at in one.offsets(number, self._topics)]
        state = [(at.topic, at.partition, at.offset, at.metadata) for at in offsets]
        if state == self._committed:
            return True
        self._topics.check(self._admin)
        self._transactions.begin()
        outcomes = [outcome for one in partitions.values() for outcome in one.outcomes]
        for outcome in outcomes:
            self._transactions.produce(
                self._settings.outcomes_topic,
                encode_outcome(outcome),
                outcome.session_id.encode(),
                int(time.time() * 1000),
            )
        # Kills are of interest where outcomes are under way.
        if outcomes:
            reach(f"{COMMAND}-1-produced")
        group = self._consumer.consumer_group_metadata()
        try:
            self._transactions.commit(offsets, group, is_counted=bool(outcomes))
        except RebalancedError:
            # What is still this recorder's is read again from what is committed.
            self._assigned(self._consumer, self._consumer.assignment())
            return False
        self._committed = state
        for one in partitions.values():
            one.outcomes = []
            self.report.add(one.join.pop_counts())
        return True

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Begin where the committed offsets say, with the events that their lists need."""
        committed = {(at.topic, at.partition): at for at in committed_offsets(consumer, places)}
        self._partitions, self._committed, self._has_no_part = {}, [], not places
        numbers = sorted({place.partition for place in places})
        for number in numbers:

            def join_of(kept: KeptEvents, number: int = number) -> OutcomeJoin:
                most = MOST_EVENTS // len(numbers)
                return OutcomeJoin(number, self._within_ms, self._lateness_ms, kept, most)

            one, lost = resumed_partition(
                self._topics,
                {topic: at for (topic, n), at in committed.items() if n == number},
                {topic: offset_bounds(consumer, TopicPartition(topic, number)) for topic in self._topics.ids},
                join_of,
            )
            one.newest_s = self._clock_s()
            self._partitions[number] = one
            for topic, count in lost.items():
                self._count_lost(topic, number, count)
        self._read_on()

    def _read_on(self) -> None:
        """Read both topics of all partitions from where each is."""
        starts = []
        for number, one in self._partitions.items():
            # A pause would outlast the assignment.
            for topic in tuple(one.paused):
                self._hold_back(one, number, topic, False)
            one.ended.clear()
            starts += [
                TopicPartition(self._topics.events, number, one.next_event),
                TopicPartition(self._topics.lists, number, one.next_list),
            ]
        self._consumer.assign(starts)
        log_assigned(starts[::2])

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Another recorder goes on with these: what is not committed is read again by it."""
        for number in {place.partition for place in places}:
            self._partitions.pop(number, None)
        consumer.unassign()

    def _pass_over_lost(self, one: RecordedPartition, topic: str, number: int) -> None:
        """Retention has removed what is to be read next: go on at the log's first record."""
        low, high = offset_bounds(self._consumer, TopicPartition(topic, number))
        position = one.next_event if topic == self._topics.events else one.next_list
        if position > high:
            raise made_anew(topic, f"it had {position} records in partition {number}, and has {high}")
        self._count_lost(topic, number, one.pass_over(topic, low, self._topics))
        self._read_on()

    def _count_lost(self, topic: str, number: int, count: int) -> None:
        if not count:
            return
        self.report.lost[topic] += count
        told = happening("records_lost", topic=topic, partition=number, count=count)
        text = "partition %d of %s: %d records are no longer in the log; lists have no outcome by them"
        logger.warning(text, number, topic, count, extra=told)

    def _is_done(self) -> bool:
        """Whether all that is there is read, and no list's time is over; or others have every partition."""
        if not self._partitions:
            return self._has_no_part and self._others.have_all()
        return all(
            self._topics.events in one.ended and (self._topics.lists in one.ended or one.join.waiting)
            for one in self._partitions.values()
        )

    def _measure(self) -> None:
        report = self.report
        report.lag = report.waiting = report.kept = 0
        for number, one in self._partitions.items():
            place = TopicPartition(self._topics.events, number)
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            report.lag += max(0, end - one.next_event)
            report.waiting += len(one.join.waiting)
            report.kept += len(one.join.kept)
