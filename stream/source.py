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
from stream.partition import OpenPartition
from stream.recovery import encode_metadata
from stream.settings import Settings
from stream.store import Fence
from stream.waves import Arrival, Wave, WaveCutter

ANSWER_TIMEOUT_S = 30.0
logger = logging.getLogger(__name__)


class Source:
    """The reading thread.

    `emit` takes a wave and blocks while the pipeline is full; `wait_idle` returns when every
    emitted wave is written; `open_partition` recovers one, `close_partition` closes it and
    returns its durable fence.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        emit: Callable[[Wave], None],
        wait_idle: Callable[[], None],
        open_partition: Callable[[int, TopicPartition | None], OpenPartition],
        close_partition: Callable[[int], Fence],
        on_read: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._wait_idle = wait_idle
        self._open_partition = open_partition
        self._close_partition = close_partition
        self._on_read = on_read
        self._on_failure = on_failure
        self._wall_s = wall_s
        self._cutter = WaveCutter(settings.wave_size)
        self._watermarks: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._fences: dict[int, Fence] = {}
        self._fences_lock = threading.Lock()
        self._next_commit_s = 0.0
        self._stopping = threading.Event()
        self.lag = 0
        self.assigned = threading.Event()
        self._consumer = Consumer(
            {
                **settings.kafka_config(),
                "group.id": settings.group_id,
                "group.instance.id": settings.worker_id,
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 45_000,
                "max.poll.interval.ms": 900_000,
                "queued.max.messages.kbytes": 32_768,
                "queued.min.messages": 20_000,
                "fetch.wait.max.ms": 50,
            }
        )
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

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

    def commit(self, fences: dict[int, Fence]) -> None:
        """Have written fences committed, with watermark and `recover_from` as metadata; from any thread."""
        with self._fences_lock:
            self._fences.update(fences)

    def _offsets(self, fences: dict[int, Fence]) -> list[TopicPartition]:
        return [
            TopicPartition(self._settings.events_topic, number, fence.position, encode_metadata(fence))
            for number, fence in fences.items()
        ]

    def _give_up(self, numbers: set[int]) -> None:
        """Finish every event that was read, commit, and close the stores of `numbers`."""
        while (wave := self._cutter.cut()) is not None:
            self._emit(wave)
        self._wait_idle()
        fences = {number: self._close_partition(number) for number in numbers & self._watermarks.keys()}
        for number in fences:
            del self._watermarks[number], self._taken[number]
        offsets = self._offsets({number: fence for number, fence in fences.items() if fence.position})
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The store has it all the same; without the commit the next owner publishes some lists again.
            logger.warning("the last commit was refused: %s", error.args[0].str())

    @property
    def waiting(self) -> int:
        """Records read that no wave has taken yet."""
        return len(self._cutter)

    def _commit_written(self) -> None:
        with self._fences_lock:
            fences, self._fences = self._fences, {}
        owned = {number: fence for number, fence in fences.items() if number in self._taken}
        if owned:
            self._consumer.commit(offsets=self._offsets(owned), asynchronous=True)

    def _measure_lag(self) -> None:
        lag = 0
        for number, position in self._taken.items():
            tp = TopicPartition(self._settings.events_topic, number)
            _, newest = self._consumer.get_watermark_offsets(tp, cached=True)
            # Until the first fetch the newest offset is not known here, but from the assignment.
            self._ends[number] = max(self._ends[number], newest)
            lag += max(0, self._ends[number] - position)
        self.lag = lag

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self._give_up(set(self._watermarks))
            self._consumer.close()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _turn(self) -> None:
        """Read up to one wave's records and emit one wave; commit and measure now and then."""
        now_s = time.monotonic()
        if now_s >= self._next_commit_s:
            self._next_commit_s = now_s + self._settings.commit_interval_ms / 1000
            self._commit_written()
            self._measure_lag()
        room = self._settings.wave_size - len(self._cutter)
        messages = (
            self._consumer.consume(room, timeout=self._settings.wave_wait_ms / 1000) if room > 0 else []
        )
        received_ns = time.monotonic_ns()
        latest_ms = int((self._wall_s() + self._settings.max_future_s) * 1000)
        for message in messages:
            error = message.error()
            if error is None:
                self._take(message, received_ns, latest_ms)
            elif error.fatal() or not error.retriable():
                self._refuse(error)
        wave = self._cutter.cut()
        if wave is not None:
            self._emit(wave)

    def _take(self, message: Message, received_ns: int, latest_ms: int) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition not in self._watermarks:
            # The partition was revoked in the very call that returned its record: its next owner reads it.
            return
        watermark_ms = self._watermarks[partition]
        key, value = message.key(), message.value()
        self._on_read(partition)
        self._taken[partition] = offset + 1
        try:
            event = decode_event(value, key)
            if event.event_time_ms > latest_ms:
                raise RejectedEvent("future")
        except RejectedEvent as rejected:
            arrival = Arrival(
                partition,
                offset,
                None,
                watermark_ms,
                received_ns,
                reason=rejected.reason,
                key=key,
                value=value,
            )
        else:
            arrival = Arrival(partition, offset, event, watermark_ms, received_ns)
            self._watermarks[partition] = max(watermark_ms, event.event_time_ms)
        self._cutter.add(arrival)

    def _refuse(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):  # noqa: SLF001
            logger.warning("Kafka is away: %s; reading goes on when it is back", error.str())
            return
        raise NextclickError(
            f"reading {self._settings.events_topic} failed: {error.str()}",
            "Nothing is lost: what was not written is read again after a restart.",
            "Look at the brokers, then start the worker again.",
        )

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Recover the new partitions, then read each from its store's position."""
        if not partitions:
            self.assigned.set()
            return
        self.assigned.clear()
        committed = {tp.partition: tp for tp in consumer.committed(partitions, timeout=ANSWER_TIMEOUT_S)}
        starts: list[TopicPartition] = []
        for tp in partitions:
            partition = self._open_partition(tp.partition, committed.get(tp.partition))
            self._watermarks[tp.partition] = partition.watermark_ms
            self._taken[tp.partition] = partition.position
            low, high = consumer.get_watermark_offsets(tp, timeout=ANSWER_TIMEOUT_S, cached=False)
            if partition.position > high:
                raise NextclickError(
                    f"the store of partition {tp.partition} is at offset {partition.position}, "
                    f"the log ends at {high}",
                    "The topic was emptied or made anew, or the broker lost records.",
                    "Move the state folder away (or name another --state-dir) and start again.",
                )
            if partition.position < low and partition.position:
                logger.warning(
                    "partition %d: events %d to %d are no longer in the log",
                    tp.partition,
                    partition.position,
                    low,
                )
            self._ends[tp.partition] = high
            starts.append(TopicPartition(tp.topic, tp.partition, max(low, partition.position)))
        consumer.incremental_assign(starts)
        self._measure_lag()
        self.assigned.set()
        logger.info("assigned: %s", ", ".join(f"{tp.partition}@{tp.offset}" for tp in starts))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give the partitions up: waves finished, committed, stores closed."""
        numbers = {tp.partition for tp in partitions}
        self._give_up(numbers)
        consumer.incremental_unassign(partitions)
        logger.info("revoked: %s", ", ".join(map(str, sorted(numbers))))

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Somebody else has them: what is in flight here must not be written any more."""
        raise NextclickError(
            f"partitions {sorted(tp.partition for tp in partitions)} were lost to another worker",
            "This worker was silent for too long, or another one has the same worker id.",
            "Restart it; give each worker its own --worker-id.",
        )
