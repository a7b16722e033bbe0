"""One worker's pipeline: source → step threads → sink, with every queue bounded.

Counts the waves under way, so that a revoked partition or a shutdown can wait until all of
them are durable. Crash-only: a failure in any thread ends the process through `on_failure`.
Tested by tests/unit/stream/worker/test_gauges.py, tests/unit/stream/test_app.py and
tests/integration/test_worker.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import sub

from confluent_kafka import TopicPartition

from stream.event_decoder import OWN_EVENTS, EventDecoder, patient
from stream.kafka.topic_id import UNKNOWN, topic_id
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.recovery import Recovery
from stream.sessions.session_state import SessionState
from stream.sessions.store import make_block_cache
from stream.settings import Settings
from stream.wave.freshness import reload_recent_events
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.shadow import Shadow
from stream.wave.stepped_wave import PlacementMaker, SteppedWave
from stream.wave.waves import Wave
from stream.worker.counters import WorkerCounters
from stream.worker.partition_watch import PartitionWatch
from stream.worker.sink import Sink
from stream.worker.source import Source
from stream.worker.wave_consumer import MOST_QUEUED_WAVES

READ_STATE_WAIT_S = 0.5
# For schemas, in the callback of an assignment: the group would give the partitions to others.
OPENING_WAIT_S = 10.0


@dataclass(frozen=True)
class Opening:
    """How a partition was opened: wall seconds, and how many records of the log were read again."""

    seconds: float
    records: int


class Pipeline:
    """Source, processor and sink of one worker; the source sees it as a WaveConsumer.

    `hand_to_step_thread` has `step` called with the waves of a lane, in order and from one thread
    for each lane; the caller of `step` sets `stepping` when it is ready. Each of `on_durable` is
    called with every written wave, in the sink's thread.
    """

    def __init__(
        self,
        settings: Settings,
        live: ModelSlot,
        counters: WorkerCounters,
        *,
        hand_to_step_thread: Callable[[list[Wave]], None],
        on_durable: Iterable[Callable[[SteppedWave], None]],
        on_failure: Callable[[BaseException], None],
        decoder: EventDecoder = OWN_EVENTS,
        placements: PlacementMaker | None = None,
    ) -> None:
        self.live = live
        self.counters = counters
        self._on_durable = tuple(on_durable)
        self.recovering: dict[int, tuple[int, int]] = {}
        self.openings: dict[int, Opening] = {}
        self.stepping = threading.Event()
        self._settings = settings
        self._opening_decoder = patient(decoder, OPENING_WAIT_S)
        self._hand_to_step_thread = hand_to_step_thread
        self.block_cache = make_block_cache(settings.block_cache_bytes)
        # Held while a partition leaves the table, so that no scrape reads a store that is being closed.
        self._closing = threading.Lock()
        self.shadow = Shadow(settings.shadow_sessions)
        self._processor = Processor(live, settings.recent_items, shadow=self.shadow, placements=placements)
        self._closed_at: dict[int, int] = {}
        self.topic_id = UNKNOWN
        self._started = False
        self._emitted = [0] * settings.step_threads
        self._next = [0] * settings.step_threads
        self._under_way = 0
        self._events_under_way = 0
        self._changed = threading.Condition()
        self.source = Source(settings, self, on_failure=on_failure, decoder=decoder)
        self._partition_watch = PartitionWatch(settings, on_failure)
        self._sink = Sink(
            settings, commit=self.source.commit, on_durable=self._wave_is_durable, on_failure=on_failure
        )

    @property
    def ready(self) -> bool:
        """Whether a model is warm, every assigned partition is recovered, and waves would be stepped."""
        return self.live.ready and self.source.assigned.is_set() and self.stepping.is_set()

    @property
    def brokers_away_s(self) -> float:
        """For how long no broker has answered, 0 while they do: until then lag is not known."""
        return self._partition_watch.brokers_away_s

    @property
    def why_not_ready(self) -> str:
        """Why no event is stepped now, "" when events are."""
        if not self.live.ready:
            return "no model is warm"
        if not self.ready:
            return "its partitions are not assigned and recovered yet"
        away_s = self.brokers_away_s
        return f"no broker has answered for {away_s:.0f} s" if away_s else ""

    @property
    def lag(self) -> int | None:
        """Records not read yet; None while no broker says how many there are."""
        return None if self.brokers_away_s else self.source.lag

    @property
    def in_flight(self) -> int:
        """Events read and not durable yet."""
        return self._events_under_way + self.source.waiting

    @property
    def partitions(self) -> int:
        """How many partitions the topic has, over all workers."""
        return self._settings.partitions

    @property
    def worker_id(self) -> str:
        """This worker's name."""
        return self._settings.worker_id

    @property
    def sessions(self) -> int:
        """Open sessions of all partitions, as of the last write."""
        return sum(partition.durable.sessions for partition in list(self._processor.partitions.values()))

    def read_state(self, number: int, session_id: str) -> tuple[SessionState | None, int] | None:
        """A copy of a session's state, and its partition's watermark in ms; None where that is not open.

        From any thread. Waits up to READ_STATE_WAIT_S for a session that is in step; a wave waits for
        at most one read of the store.
        """
        processor = self._processor
        with processor.changed:
            processor.changed.wait_for(
                lambda: not ((at := processor.partitions.get(number)) and at.is_in_step(session_id)),
                READ_STATE_WAIT_S,
            )
            # Without a place in the group another worker may have what is newer.
            partition = None if self.source.has_lost_place else processor.partitions.get(number)
            return None if partition is None else (partition.read_state(session_id), partition.watermark.ms)

    @contextmanager
    def open_partitions(self) -> Iterator[list[OpenPartition]]:
        """The open partitions, none of which is closed meanwhile; leave the context soon."""
        with self._closing:
            yield list(self._processor.partitions.values())

    @property
    def event_time_ms(self) -> int | None:
        """The largest watermark of the open partitions; None before any event."""
        partitions = list(self._processor.partitions.values())
        return max((partition.durable.watermark.ms for partition in partitions), default=0) or None

    def start(self) -> None:
        """Start publishing, then reading. Raises NextclickError when no broker names the topic's id."""
        self.topic_id = self.live.topic_id = self.shadow.topic_id = topic_id(
            self._settings, self._settings.events_topic
        )
        self._started = True
        self._sink.start()
        self.source.start()
        self._partition_watch.start(self.topic_id)

    def stop(self) -> None:
        """Stop reading, finish every wave, commit, close the stores; does nothing if it never started."""
        if not self._started:
            return
        self._partition_watch.stop()
        self._sink.will_stop()
        self.source.stop()
        self._sink.stop()

    def emit(self, waves: list[Wave]) -> None:
        """Number waves of one lane and hand them on to be stepped; called in the source's thread."""
        for wave in waves:
            wave.number = self._emitted[wave.lane]
            self._emitted[wave.lane] += 1
        with self._changed:
            self._under_way += len(waves)
            self._events_under_way += sum(len(wave.arrivals) for wave in waves)
        self._hand_to_step_thread(waves)

    def step(self, waves: list[Wave]) -> None:
        """Step waves of one lane in order, in its step thread; blocks while the sink is full.

        Performs steps 3 to 7 of each wave (see Processor) and hands it to the sink.
        """
        for wave in waves:
            due = self._next[wave.lane]
            if wave.number != due:
                raise RuntimeError(f"wave {wave.number} came where {due} was due: one was lost")
            self._processor.process(wave, self._sink.submit)
            with self._changed:
                self._next[wave.lane] += 1
                self._changed.notify_all()

    def queued(self) -> list[int]:
        """Waves emitted and not stepped yet, by lane."""
        return list(map(sub, self._emitted, self._next))

    def wait_for_room(self, lanes: list[int], timeout_s: float) -> None:
        """Wait until one of the lanes has at most MOST_QUEUED_WAVES queued."""

        def has_room() -> bool:
            queued = self.queued()
            return any(queued[lane] <= MOST_QUEUED_WAVES for lane in lanes)

        with self._changed:
            self._changed.wait_for(has_room, timeout_s)

    def wait_until_durable(self) -> None:
        """Wait until every emitted wave is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way and not any(self.queued()))

    def _wave_is_durable(self, stepped: SteppedWave) -> None:
        """Called in the sink's thread after step 9, in the order of the waves."""
        self._processor.written = stepped.number
        for report in self._on_durable:
            report(stepped)
        with self._changed:
            self._under_way -= 1
            self._events_under_way -= stepped.size
            self._changed.notify_all()

    def add_read(self, counts: dict[int, int]) -> None:
        """Count records read, by partition."""
        self.counters.add_read(counts)

    def add_producer_fault(self, fault: str, events: int) -> None:
        """Count events that a producer has sent otherwise than it should."""
        self.counters.add_producer_fault(fault, events)

    def add_lost(self, number: int, events: int) -> None:
        """Count events of a partition that left the log before they were read."""
        self.counters.add_lost(number, events)

    def open_partition(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        """Recover an assigned partition, and the recent events that versions follow."""
        serving = self.live.current
        started_s, records = time.monotonic(), 0

        def progress(partition: int, done: int, total: int) -> None:
            nonlocal records
            records = done
            self.recovering[partition] = (done, total)

        recovery = Recovery(
            self._settings,
            serving.rule,
            self.live.in_service.columns,
            self.block_cache,
            progress,
            topic_id=self.topic_id,
            decoder=self._opening_decoder,
        )
        partition = recovery.open(number, committed)
        self.recovering.pop(number, None)
        self._processor.partitions[number] = partition
        self._share_events()
        followed = (self._closed_at.get(number, 0), partition.position)
        reload_recent_events(self._settings, self.live, serving.rule, number, followed, self._opening_decoder)
        self.openings[number] = Opening(time.monotonic() - started_s, records)
        self.counters.open_partition(number, partition.skipped)
        if partition.begun_anew:
            self.counters.add_begun_anew(number)
        return partition

    def close_partition(self, number: int) -> AppliedOffsets:
        """Close a partition without waves under way; returns its durable offsets."""
        with self._closing, self._processor.changed:
            partition = self._processor.partitions.pop(number)
        partition.store.close()
        self.openings.pop(number, None)
        self._closed_at[number] = partition.position
        self._share_events()
        return partition.durable

    def _share_events(self) -> None:
        self.live.share = max(1, len(self._processor.partitions)) / self._settings.partitions
