"""Reads `events` and decodes them; follows the group's assignment and commits.

Performs step 1 of a wave (see stream.wave) and has step 2 done by `lanes`. One thread, the only one
that touches the consumer: calls from two threads can deadlock confluent-kafka (a cached watermark
beside a consume did). It blocks while the pipeline is full, so that a slow broker or model slows
reading. Before a revoked partition is given up, its waves are finished and committed, and its store closed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream.event_decoder import OWN_EVENTS, EventDecoder, SchemaAwayError
from stream.failpoints import reach
from stream.kafka.consumers import log_assigned, log_refused_commit, raise_unless_transient
from stream.kafka.held_partitions import HeldPartitions
from stream.logs import happening
from stream.sessions.offsets import AppliedOffsets
from stream.settings import Settings
from stream.wave.load_shedding import LoadShedding
from stream.wave.waves import Wave
from stream.worker.arrivals import ArrivalMaker
from stream.worker.assignment import (
    Assignment,
    PartitionProgress,
    close_consumer,
    log_went_back,
    make_consumer,
    taken_away,
    wait_for_a_broker,
)
from stream.worker.commits import Commits
from stream.worker.lanes import IDLE_POLL_S, WAVES_AT_ONCE, WaveEmitter
from stream.worker.producer_faults import ProducerFaults
from stream.worker.wave_consumer import WaveConsumer

# Records read ahead for each lane, in waves: what one busy session holds up, the others need not wait for.
LOOKAHEAD_WAVES = 8
BUSY_POLL_S = 0.001
logger = logging.getLogger(__name__)


class Source:
    """The reading thread: feeds `pipeline` with waves, and ends the process through `on_failure`."""

    def __init__(
        self,
        settings: Settings,
        pipeline: WaveConsumer,
        *,
        on_failure: Callable[[BaseException], None],
        decoder: EventDecoder = OWN_EVENTS,
        wall_s: Callable[[], float] = time.time,
        make_consumer: Callable[..., Consumer] = make_consumer,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._on_failure = on_failure
        self._waves = WaveEmitter(settings, pipeline)
        self._wave_wait_s = settings.wave_wait_ms / 1000
        self._faults = ProducerFaults(settings.partitions, pipeline.add_producer_fault)
        self._arrivals = ArrivalMaker(settings, decoder, self._faults, wall_s)
        self._load_shedding = LoadShedding(settings.newest_only_lag, settings.popular_lag)
        self._commits = Commits(settings.events_topic)
        self._next_commit_s, self.lag, self.has_lost_place = 0.0, 0, False
        self._stopping = threading.Event()
        self.assigned = threading.Event()
        self._consumer = make_consumer(settings, self._on_commit)
        self.held = HeldPartitions(settings.events_topic, self._consumer)
        self._assignment = Assignment(settings.events_topic, self._consumer, pipeline.add_lost)
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def waiting(self) -> int:
        """Records read that are in no wave yet."""
        return len(self._waves.lanes)

    @property
    def partitions(self) -> list[int]:
        """The partitions that are read now."""
        return list(self._assignment.progress)

    @property
    def progress(self) -> dict[int, PartitionProgress]:
        """How far each partition is read now; a copy, from any thread."""
        return dict(self._assignment.progress)

    @property
    def level(self) -> int:
        """The load-shedding level."""
        return self._load_shedding.level

    def start(self) -> None:
        """Join the group and start the thread."""
        self.join_group()
        self._thread.start()

    def join_group(self) -> None:
        """Subscribe to `events`."""
        callbacks = {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}
        self._consumer.subscribe([self._settings.events_topic], **callbacks)

    def stop(self) -> None:
        """Stop reading and leave the group to others; waves already emitted are finished first."""
        self._stopping.set()
        self._thread.join()

    def commit(self, written: dict[int, AppliedOffsets]) -> None:
        """Have written offsets committed, by the next turn that is due; from any thread."""
        self._commits.add(written)
        self._assignment.written(written)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.turn()
            self._give_up(set(self._assignment.progress))
            close_consumer(self._settings, self._consumer)
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def turn(self) -> None:
        """Read records, decode them and emit waves; commit, measure and expire now and then."""
        now_s = time.monotonic()
        if now_s >= self._next_commit_s:
            self._next_commit_s = now_s + self._settings.commit_interval_ms / 1000
            self._commit_written()
            self.lag = self._assignment.measure_lag()
            self._waves.level = self._load_shedding.update(self.lag)
            self._expire_idle()
            self._write_skipped()
        self.held.retry()
        self._waves.fit_lanes(now_s)
        messages = self._read()
        if messages:
            self._decode(messages)
            reach("1-decoded")
        self._waves.emit()

    def _read(self) -> list[Message]:
        """Records, at most as many as the look-ahead has room for.

        Waits for a first record while there is nothing to do, and for full waves while every lane has
        waves to step. An idle lane waits for a fuller wave only where events are dense.
        """
        size, waiting = self._settings.wave_size * self._waves.lanes.open, self.waiting
        most = min(WAVES_AT_ONCE * size, LOOKAHEAD_WAVES * size - waiting)
        if most <= 0:
            self._waves.wait_for_room()
            return []
        messages: list[Message] = []
        if not self._waves.ready():
            messages = self._consumer.consume(1, timeout=BUSY_POLL_S if waiting else IDLE_POLL_S)
        started_s = time.monotonic()
        while (room := size - waiting - len(messages)) > 0:
            busy = self._waves.are_all_busy()
            wait_s = self._wave_wait_s if busy else self._waves.controller.wait_s
            left_s = started_s + wait_s - time.monotonic()
            if left_s <= 0 or not (busy or messages or waiting):
                break
            messages += self._consumer.consume(room, timeout=min(left_s, BUSY_POLL_S) if busy else left_s)
        if most > len(messages) and (messages or waiting):
            messages += self._consumer.consume(most - len(messages), timeout=0)
        return messages

    def _decode(self, messages: list[Message]) -> None:
        """1. decode: records become arrivals, with a reason where they are rejected, and queue in lanes."""
        self._arrivals.begin_batch()
        progress, lanes = self._assignment.progress, self._waves.lanes
        read: dict[int, int] = {}
        for message in messages:
            error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
            if number in self.held:
                # Behind a record that waits for its schema: read again with it.
                continue
            if error is not None:
                self._heed(error, number, offset)
                continue
            partition = progress.get(number)
            if partition is None:
                # Revoked in the very call that returned its record: its next owner reads it.
                continue
            if offset < partition.position:
                raise log_went_back(number, offset, partition.position)
            before = partition.watermark
            try:
                arrival = self._arrivals.arrival(message, before)
            except SchemaAwayError as away:
                self.held.hold(number, offset, away)
                continue
            self.held.passed(number)
            read[number] = read.get(number, 0) + 1
            if (event := arrival.event) is not None:
                partition.watermark = before.after(event.session_id, event.event_time_ms)
            partition.position = offset + 1
            partition.pending.add(offset, before, partition.watermark)
            lanes.add(arrival)
        now_s = time.monotonic()
        for number in read:
            progress[number].last_read_s = now_s
        self._faults.review()
        self._waves.controller.count_read(sum(read.values()))
        self._pipeline.add_read(read)

    def _heed(self, error: KafkaError, number: int, offset: int) -> None:
        """Follow what the client says in the place of a record; raise what does not pass by itself."""
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._assignment.skip_to(number, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            self._assignment.read_on_after_loss(number)
        else:
            raise_unless_transient(error, self._settings)

    def _write_skipped(self) -> None:
        """Have positions written and committed that moved past offsets without a record."""
        if skipped := self._assignment.pop_skipped():
            self._pipeline.emit([Wave([], skipped)])

    def _expire_idle(self) -> None:
        """Move the watermarks of partitions without traffic, if set, so that their sessions expire."""
        idle_s = self._settings.idle_expiry_s
        if idle_s is not None and not self.waiting and not any(self._pipeline.queued()):
            moved = self._assignment.move_idle_watermarks(idle_s)
            if moved:
                self._pipeline.emit([Wave([], moved)])

    def _commit_written(self) -> None:
        """Commit to Kafka the offsets that step 9 has written."""
        offsets = self._commits.pop_due(self._assignment.progress)
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)
        reach("9-committed")

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commits.answered()
        if error is None:
            return
        if error.fatal():
            raise_unless_transient(error, self._settings)
        log_refused_commit(error, "it is repeated")
        self._commits.refused(partitions)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Recover the new partitions, then read each from its store's position."""
        if partitions:
            self.assigned.clear()
            committed = self._assignment.committed(partitions)
            starts = [self._open(tp.partition, committed.get(tp.partition)) for tp in partitions]
            consumer.incremental_assign(starts)
            self.lag = self._assignment.measure_lag()
            log_assigned(starts)
        self.assigned.set()

    def _open(self, number: int, committed: TopicPartition | None) -> TopicPartition:
        """Recover a partition; returns where to read on."""
        partition = self._pipeline.open_partition(number, committed)
        start = self._assignment.add(partition)
        self._commits.add_opened(number, partition.durable, committed)
        return start

    def _give_up(self, numbers: set[int]) -> None:
        """Finish every event that was read, commit, and close the stores of `numbers`."""
        self._waves.finish()
        numbers &= self._assignment.progress.keys()
        self._commits.forget(numbers)
        durable = {number: self._pipeline.close_partition(number) for number in numbers}
        for number in numbers:
            self._assignment.remove(number)
        offsets = self._commits.as_offsets({number: at for number, at in durable.items() if at.position})
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The store has these offsets; without the commit the next owner publishes some lists again.
            log_refused_commit(error.args[0], "the next owner steps nothing twice")

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give the partitions up, once their waves are finished and committed and their stores closed."""
        numbers = {tp.partition for tp in partitions}
        self.held.release(numbers)
        self._give_up(numbers)
        self.held.forget(numbers)
        consumer.incremental_unassign(partitions)
        logger.info("revoked: %s", sorted(numbers), extra=happening("revoked", partitions=sorted(numbers)))

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """The group gave the partitions to other workers, or will: a restart joins it anew."""
        self.has_lost_place = True
        wait_for_a_broker(self._settings, self._stopping)
        raise taken_away(self._settings, sorted(tp.partition for tp in partitions))
