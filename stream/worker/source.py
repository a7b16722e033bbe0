"""Reads `events` in batches and cuts them into waves; follows the group's assignment.

One thread, the only one that touches the consumer (calls from two threads can deadlock
confluent-kafka: a cached watermark beside a consume did). It blocks when the pipeline is full,
so that a slow broker or model slows reading. A revoked partition finishes its waves in
flight, is committed and closed before it is given up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from model.errors import NextclickError
from stream.events import RejectedEvent, decode_event
from stream.failpoints import reach
from stream.kafka.consumers import log_assigned, log_refused_commit, raise_unless_transient
from stream.logs import happening
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.settings import Settings
from stream.wave.load_shedding import LoadShedding
from stream.wave.waves import Arrival, Wave
from stream.worker.assignment import Assignment, make_consumer
from stream.worker.commits import Commits
from stream.worker.lanes import LaneController, Lanes

# Records read ahead for each lane, in waves: what one busy session holds up, the others need not wait for.
LOOKAHEAD_WAVES = 8
# Handed over together on a backlog: fewer changes of threads for each.
WAVES_AT_ONCE = 4
IDLE_POLL_S = 0.05
BUSY_POLL_S = 0.001
logger = logging.getLogger(__name__)


class Source:
    """The reading thread.

    `emit` takes waves of a lane; `to_step` says how many each lane has; `wait_for_lane` returns when
    one of some lanes has room, or after some seconds; `wait_idle` when every emitted wave is written;
    `open_partition` recovers one, `close_partition` closes it and returns its durable fence;
    `on_read` takes records by partition.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        emit: Callable[[list[Wave]], None],
        to_step: Callable[[], list[int]],
        wait_for_lane: Callable[[list[int], float], None],
        wait_idle: Callable[[], None],
        open_partition: Callable[[int, TopicPartition | None], OpenPartition],
        close_partition: Callable[[int], AppliedOffsets],
        on_read: Callable[[dict[int, int]], None],
        on_failure: Callable[[BaseException], None],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._wait_idle = wait_idle
        self._to_step = to_step
        self._wait_for_lane = wait_for_lane
        self._open_partition = open_partition
        self._close_partition = close_partition
        self._on_read = on_read
        self._on_failure = on_failure
        self._wall_s = wall_s
        self._newest_wall_ms = 0
        self._lanes = Lanes(settings.step_threads, settings.wave_size)
        self._wave_wait_s = settings.wave_wait_ms / 1000
        self._filling = LaneController(settings.step_threads, settings.wave_size, self._wave_wait_s)
        self._ladder = LoadShedding(settings.newest_only_lag, settings.popular_lag)
        self._commits = Commits(settings.events_topic)
        self._next_commit_s = 0.0
        self._stopping = threading.Event()
        self.lag = 0
        self.assigned = threading.Event()
        self._consumer = make_consumer(settings, self._on_commit)
        self._assignment = Assignment(settings.events_topic, self._consumer)
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def waiting(self) -> int:
        """Records read that no wave has taken yet."""
        return len(self._lanes)

    @property
    def partitions(self) -> list[int]:
        """The partitions that are read now."""
        return list(self._assignment.readings)

    def partition_lags(self) -> dict[int, int]:
        """Partition → records not read yet; from any thread."""
        return {number: reading.lag for number, reading in list(self._assignment.readings.items())}

    @property
    def level(self) -> int:
        """The ladder's level."""
        return self._ladder.level

    def start(self) -> None:
        """Join the group and start reading."""
        self._consumer.subscribe(
            [self._settings.events_topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and leave the group; waves already emitted are finished first."""
        self._stopping.set()
        self._thread.join()

    def commit(self, all_applied: dict[int, AppliedOffsets]) -> None:
        """Have written fences committed; from any thread."""
        self._commits.add(all_applied)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self._give_up(set(self._assignment.readings))
            self._consumer.close()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _turn(self) -> None:
        """Read what there is and emit waves of it; commit, measure and expire now and then."""
        now_s = time.monotonic()
        if now_s >= self._next_commit_s:
            self._next_commit_s = now_s + self._settings.commit_interval_ms / 1000
            self._commit_written()
            self.lag = self._assignment.measure_lag()
            self._ladder.follow(self.lag)
            self._expire_idle()
        self._filling.review(now_s, len(self._lanes))
        self._fit_lanes()
        messages = self._read()
        if messages:
            self._take(messages)
            reach("1-decoded")
        self._emit_waves()

    def _read(self) -> list[Message]:
        """At most as many records as the look-ahead has room for.

        Waits for a first one while there is nothing to do, and for full waves while every lane has
        others to step; an idle lane only where events come so densely that its wave becomes fuller.
        """
        size, waiting = self._settings.wave_size * self._lanes.open, len(self._lanes)
        most = min(WAVES_AT_ONCE * size, LOOKAHEAD_WAVES * size - waiting)
        if most <= 0:
            self._wait_for_lane(self._lanes.occupied(), IDLE_POLL_S)
            return []
        messages: list[Message] = []
        if not self._ready():
            messages = self._consumer.consume(1, timeout=BUSY_POLL_S if waiting else IDLE_POLL_S)
        started_s = time.monotonic()
        while (room := size - waiting - len(messages)) > 0:
            busy = all(self._to_step()[: self._lanes.open])
            wait_s = self._wave_wait_s if busy else self._filling.wait_s
            left_s = started_s + wait_s - time.monotonic()
            if left_s <= 0 or not (busy or messages or waiting):
                break
            messages += self._consumer.consume(room, timeout=min(left_s, BUSY_POLL_S) if busy else left_s)
        if most > len(messages) and (messages or waiting):
            messages += self._consumer.consume(most - len(messages), timeout=0)
        return messages

    def _fit_lanes(self) -> None:
        """Open as many lanes as are wanted, when no session has an event under way in one of them."""
        if self._filling.lanes != self._lanes.open:
            self._finish()
            self._lanes.open = self._filling.lanes

    def _ready(self) -> list[int]:
        """The lanes that have something to cut, and room for it."""
        to_step = self._to_step()
        return [lane for lane in self._lanes.occupied() if to_step[lane] <= 1]

    def _emit_waves(self) -> None:
        """Hand each lane that has room a wave of what waits for it, and more of them while they are full.

        The others' arrivals wait here, so that no lane holds up reading for another.
        """
        for lane in self._ready():
            waves = self._lanes.cut(lane, WAVES_AT_ONCE)
            for wave in waves:
                wave.level = self._ladder.level
                self._filling.count_wave(len(wave.arrivals))
                reach("2-cut")
            self._emit(waves)

    def _take(self, messages: list[Message]) -> None:
        """Decode the records and queue them in the cutter."""
        received_ns = time.monotonic_ns()
        # Never backwards: a clock that is set back must not make the present look like the future.
        self._newest_wall_ms = max(self._newest_wall_ms, int(self._wall_s() * 1000))
        newest_ms, ahead_ms = self._newest_wall_ms, int(self._settings.max_future_s * 1000)
        readings, lanes = self._assignment.readings, self._lanes
        read: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                raise_unless_transient(error, self._settings)
                continue
            number, offset = message.partition() or 0, message.offset() or 0
            reading = readings.get(number)
            if reading is None:
                # Revoked in the very call that returned its record: its next owner reads it.
                continue
            read[number] = read.get(number, 0) + 1
            before = reading.watermark
            key, value = message.key(), message.value()
            try:
                event = decode_event(value, key)
                if event.event_time_ms > max(newest_ms, before.ms) + ahead_ms:
                    raise RejectedEvent("future")
            except RejectedEvent as rejected:
                arrival = Arrival(number, offset, None, before, received_ns, rejected.reason, key, value)
            else:
                arrival = Arrival(number, offset, event, before, received_ns)
                reading.watermark = before.after(event.session_id, event.event_time_ms)
            reading.position = offset + 1
            reading.pending.add(offset, before, reading.watermark)
            lanes.add(arrival)
        now_s = time.monotonic()
        for number in read:
            readings[number].newest_s = now_s
        self._filling.count_read(len(messages))
        self._on_read(read)

    def _expire_idle(self) -> None:
        """Have sessions of partitions without traffic expire by the wall, where that is wanted."""
        if self._settings.idle_expiry_s is not None and not len(self._lanes) and not any(self._to_step()):
            moved = self._assignment.move_idle_watermarks(self._settings.idle_expiry_s)
            if moved:
                self._emit([Wave([], moved)])

    def _commit_written(self) -> None:
        offsets = self._commits.take(self._assignment.readings)
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
            starts = [
                self._assignment.add(self._open_partition(tp.partition, committed.get(tp.partition)))
                for tp in partitions
            ]
            consumer.incremental_assign(starts)
            self.lag = self._assignment.measure_lag()
            log_assigned(starts)
        self.assigned.set()

    def _finish(self) -> None:
        """Have every event that was read stepped and written."""
        while len(self._lanes):
            self._wait_for_lane(self._lanes.occupied(), IDLE_POLL_S)
            self._emit_waves()
        self._wait_idle()

    def _give_up(self, numbers: set[int]) -> None:
        """Finish every event that was read, commit, and close the stores of `numbers`."""
        self._finish()
        numbers &= self._assignment.readings.keys()
        self._commits.forget(numbers)
        all_applied = {number: self._close_partition(number) for number in numbers}
        for number in numbers:
            self._assignment.remove(number)
        offsets = self._commits.offsets(
            {number: applied for number, applied in all_applied.items() if applied.position}
        )
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The store has it all the same; without the commit the next owner publishes some lists again.
            log_refused_commit(error.args[0], "the next owner steps nothing twice")

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give the partitions up: waves finished, committed, stores closed."""
        numbers = {tp.partition for tp in partitions}
        self._give_up(numbers)
        consumer.incremental_unassign(partitions)
        logger.info("revoked: %s", sorted(numbers), extra=happening("revoked", partitions=sorted(numbers)))

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """The group has given them to others, or will: a restart joins it anew."""
        raise NextclickError(
            f"partitions {sorted(tp.partition for tp in partitions)} were taken from this worker",
            f"It heard nothing from the brokers for {self._settings.session_timeout_ms} ms, "
            "or another worker has its id. What was not committed is read again.",
            "Start it again; give each worker its own --worker-id.",
        )
