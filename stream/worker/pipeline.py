"""The way of a wave: source → step threads → sink, with every queue bounded.

Counts what is under way, so that a revoked partition or a shutdown can wait until all of
it is durable. Crash-only: a failure in any thread ends the process through `on_failure`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import sub

from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.recovery import Recovery
from stream.sessions.session_state import SessionState
from stream.sessions.store import make_block_cache
from stream.settings import Settings
from stream.wave.freshness import reload_recent_events
from stream.wave.processor import Processor, SteppedWave
from stream.wave.serving_model import ModelSlot
from stream.wave.shadow import Shadow
from stream.wave.waves import Wave
from stream.worker.counters import WorkerCounters
from stream.worker.sink import Sink
from stream.worker.source import Source

LOOK_PATIENCE_S = 0.5


@dataclass(frozen=True)
class Opening:
    """How a partition was opened: wall seconds, and the records of the log that were read again for it."""

    seconds: float
    records: int


class Pipeline:
    """Source, processor and sink of one worker.

    `emit` hands waves of one lane to whoever calls `step` with them, each lane's in order and from
    one thread; who does sets `stepping` when it begins. Each of `on_durable` is called with every
    wave that is written, in the sink's thread.
    """

    def __init__(
        self,
        settings: Settings,
        live: ModelSlot,
        counters: WorkerCounters,
        *,
        emit: Callable[[list[Wave]], None],
        on_durable: Iterable[Callable[[SteppedWave], None]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.live = live
        self.counters = counters
        self._on_durable = tuple(on_durable)
        self.recovering: dict[int, tuple[int, int]] = {}
        self.openings: dict[int, Opening] = {}
        self.stepping = threading.Event()
        self._settings = settings
        self._emit_waves = emit
        self.block_cache = make_block_cache(settings.block_cache_bytes)
        # Held while a partition leaves the table, so that nobody asks a store that is being closed.
        self._leaving = threading.Lock()
        self.shadow = Shadow(settings.shadow_sessions)
        self._processor = Processor(live, settings.recent_items, shadow=self.shadow)
        self._followed_until: dict[int, int] = {}
        self._started = False
        self._emitted = [0] * settings.step_threads
        self._next = [0] * settings.step_threads
        self._under_way = 0
        self._events_under_way = 0
        self._changed = threading.Condition()
        self.source = Source(
            settings,
            emit=self._emit,
            wait_idle=self._wait_idle,
            to_step=self._to_step,
            wait_for_lane=self._wait_for_lane,
            open_partition=self._open_partition,
            close_partition=self._close_partition,
            on_read=counters.add_read,
            on_failure=on_failure,
        )
        self._sink = Sink(
            settings, commit=self.source.commit, on_written=self._written, on_failure=on_failure
        )

    @property
    def ready(self) -> bool:
        """Whether a model is warm, every assigned partition is recovered, and waves would be stepped."""
        return self.live.ready and self.source.assigned.is_set() and self.stepping.is_set()

    @property
    def in_flight(self) -> int:
        """Events read and not yet durable."""
        return self._events_under_way + self.source.waiting

    @property
    def partitions(self) -> int:
        """How many the topic has, in all workers."""
        return self._settings.partitions

    @property
    def sessions(self) -> int:
        """Open sessions, in all partitions; durable ones."""
        return sum(partition.durable.sessions for partition in list(self._processor.partitions.values()))

    def look(self, number: int, session_id: str) -> tuple[SessionState | None, int] | None:
        """A copy of a session's state, and its partition's watermark in ms; None where that is not open.

        From any thread: a session in step is waited for, but not for long, and no wave waits for more
        than one read of the store.
        """
        processor = self._processor
        with processor.changed:
            processor.changed.wait_for(
                lambda: not ((at := processor.partitions.get(number)) and at.is_in_step(session_id)),
                LOOK_PATIENCE_S,
            )
            partition = processor.partitions.get(number)
            return None if partition is None else (partition.read_state(session_id), partition.watermark.ms)

    @contextmanager
    def open_partitions(self) -> Iterator[list[OpenPartition]]:
        """The partitions that are open, none of which is closed meanwhile: not to be held for long."""
        with self._leaving:
            yield list(self._processor.partitions.values())

    @property
    def event_time_ms(self) -> int | None:
        """How far event time has come in the newest partition; None before any event."""
        partitions = list(self._processor.partitions.values())
        return max((partition.durable.watermark.ms for partition in partitions), default=0) or None

    def start(self) -> None:
        """Start publishing, then reading."""
        self._started = True
        self._sink.start()
        self.source.start()

    def stop(self) -> None:
        """Stop reading, finish every wave, commit, close the stores; nothing when it never started."""
        if not self._started:
            return
        self.source.stop()
        self._sink.stop()

    def step(self, waves: list[Wave]) -> None:
        """Step waves one after the other and hand each to the sink; blocks while the sink is full."""
        for wave in waves:
            due = self._next[wave.lane]
            if wave.number != due:
                raise RuntimeError(f"wave {wave.number} came where {due} was due: one was lost")
            self._processor.process(wave, self._sink.submit)
            with self._changed:
                self._next[wave.lane] += 1
                self._changed.notify_all()

    def _to_step(self) -> list[int]:
        """How many waves each lane has to step."""
        return list(map(sub, self._emitted, self._next))

    def _wait_for_lane(self, lanes: list[int], timeout_s: float) -> None:
        """Wait until one of the lanes has no more than one wave to step."""

        def has_room() -> bool:
            to_step = self._to_step()
            return any(to_step[lane] <= 1 for lane in lanes)

        with self._changed:
            self._changed.wait_for(has_room, timeout_s)

    def _emit(self, waves: list[Wave]) -> None:
        for wave in waves:
            wave.number = self._emitted[wave.lane]
            self._emitted[wave.lane] += 1
        with self._changed:
            self._under_way += len(waves)
            self._events_under_way += sum(len(wave.arrivals) for wave in waves)
        self._emit_waves(waves)

    def _written(self, stepped: SteppedWave) -> None:
        self._processor.written = stepped.number
        for report in self._on_durable:
            report(stepped)
        with self._changed:
            self._under_way -= 1
            self._events_under_way -= stepped.size
            self._changed.notify_all()

    def _wait_idle(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way and not any(self._to_step()))

    def _open_partition(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        serving = self.live.current
        started_s, records = time.monotonic(), 0

        def progress(partition: int, done: int, total: int) -> None:
            nonlocal records
            records = done
            self.recovering[partition] = (done, total)

        recovery = Recovery(self._settings, serving.rule, serving.columns, self.block_cache, progress)
        partition = recovery.open(number, committed)
        self.recovering.pop(number, None)
        self._processor.partitions[number] = partition
        self._share_events()
        followed = self._followed_until.get(number, 0)
        reload_recent_events(self._settings, self.live, serving.rule, number, followed, partition.position)
        self.openings[number] = Opening(time.monotonic() - started_s, records)
        self.counters.open_partition(number)
        return partition

    def _close_partition(self, number: int) -> AppliedOffsets:
        with self._leaving, self._processor.changed:
            partition = self._processor.partitions.pop(number)
        partition.store.close()
        self.openings.pop(number, None)
        self._followed_until[number] = partition.position
        self._share_events()
        return partition.durable

    def _share_events(self) -> None:
        self.live.share = max(1, len(self._processor.partitions)) / self._settings.partitions
