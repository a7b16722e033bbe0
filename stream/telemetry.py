"""What the worker tells Prometheus, and the accounting identity.

Per partition, at rest: read = stepped + duplicate + unknown + ended + dead-lettered;
while waves are under way, the difference is what is in flight. Counts are added once a
wave is durable. No label takes its values from the data.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from model.allocator import peak_memory_bytes
from stream.events import REASONS
from stream.fence import Fence
from stream.partition import OpenPartition
from stream.prequential import Prequential
from stream.processor import FALLBACKS, OUTCOMES, SteppedWave
from stream.quality_metrics import QualityCollector

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)


class Telemetry:
    """Counters of one worker process."""

    def __init__(self, newest: int, fading: float) -> None:
        # A second series beside each counter, of no use to anybody here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.prequential = Prequential(newest, fading)
        self.registry.register(QualityCollector(self.prequential))
        self.read: dict[int, int] = {}
        self.outcomes: dict[int, dict[str, int]] = {}
        self.lists = 0
        r = self.registry
        self._read = Counter("nextclick_events_read", "events read", ["partition"], registry=r)
        self._outcome = Counter(
            "nextclick_events", "events by outcome, durable", ["partition", "outcome"], registry=r
        )
        self._rejected = Counter(
            "nextclick_rejected_events", "dead letters by reason", ["reason"], registry=r
        )
        self._lists = Counter("nextclick_lists", "lists published and acknowledged", registry=r)
        self._fallback = Counter("nextclick_fallback_lists", "lists of no step", ["reason"], registry=r)
        self._unlisted = Counter(
            "nextclick_unlisted_events", "events stepped without a list, to catch up", registry=r
        )
        self.level = Gauge("nextclick_ladder_level", "0 full, 1 newest only, 2 popular", registry=r)
        self._resets = Counter("nextclick_session_resets", "sessions begun anew after silence", registry=r)
        self._late = Counter("nextclick_late_events", "events behind their session's last", registry=r)
        self._rebuilt = Counter("nextclick_rebuilt_sessions", "states re-run for the version", registry=r)
        self._inexact = Counter(
            "nextclick_rebuilt_inexact_sessions", "of these, longer than their history", registry=r
        )
        self._expired = Counter(
            "nextclick_expired_sessions", "sessions the watermark left behind", registry=r
        )
        self._wave = Histogram(
            "nextclick_wave_events",
            "events in a wave",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=r,
        )
        self._step = Histogram(
            "nextclick_step_duration_seconds", "one wave in the step thread", buckets=SECONDS, registry=r
        )
        self._queued = Histogram(
            "nextclick_queued_duration_seconds",
            "oldest event of a wave, read to step",
            buckets=SECONDS,
            registry=r,
        )
        self._delay = Histogram(
            "nextclick_list_delay_seconds",
            "oldest event of a wave, read to durable list",
            buckets=SECONDS,
            registry=r,
        )
        self.sessions = Gauge("nextclick_open_sessions", "in the store", ["partition"], registry=r)
        self.watermark = Gauge(
            "nextclick_watermark_seconds", "event-time watermark, epoch", ["partition"], registry=r
        )
        self.lag = Gauge("nextclick_lag_records", "records not read yet", registry=r)
        self.in_flight = Gauge("nextclick_events_in_flight", "read, not durable", registry=r)
        self.store_bytes = Gauge("nextclick_store_bytes", "tables and memtables", ["partition"], registry=r)
        self.model = Gauge("nextclick_model_info", "1 for the version that serves", ["version"], registry=r)
        self._rss = Gauge("nextclick_resident_memory_peak_bytes", "largest so far", registry=r)
        for reason in REASONS:
            self._rejected.labels(reason)
        for reason in FALLBACKS:
            self._fallback.labels(reason)
        self._open: set[int] = set()

    def open_partition(self, partition: OpenPartition) -> None:
        """Start the series of a partition: counts at zero, gauges at what its store has."""
        number = partition.number
        self.read.setdefault(number, 0)
        self.outcomes.setdefault(number, dict.fromkeys(OUTCOMES, 0))
        self._read.labels(number)
        for outcome in OUTCOMES:
            self._outcome.labels(number, outcome)
        self._measure(partition, partition.durable)
        self.store_bytes.labels(number).set(partition.store.size_bytes())

    def _measure(self, partition: OpenPartition, fence: Fence) -> None:
        self._open.add(partition.number)
        self.sessions.labels(partition.number).set(fence.sessions)
        self.watermark.labels(partition.number).set(fence.watermark.ms / 1000)

    def close_partition(self, number: int) -> None:
        """Drop the gauges of a partition that went elsewhere; its counters stay, as counters do."""
        for gauge in (self.sessions, self.watermark, self.store_bytes):
            if number in self._open:
                gauge.remove(number)
        self._open.discard(number)

    def add_read(self, counts: dict[int, int]) -> None:
        """Count records read, by partition."""
        for number, count in counts.items():
            self.read[number] += count
            self._read.labels(number).inc(count)

    def add(self, stepped: SteppedWave) -> None:
        """Count a wave that is durable."""
        now_ns = time.monotonic_ns()
        for number, outcomes in stepped.outcomes.items():
            totals = self.outcomes[number]
            for outcome, count in outcomes.items():
                if count:
                    totals[outcome] += count
                    self._outcome.labels(number, outcome).inc(count)
        for arrival in stepped.dead:
            self._rejected.labels(arrival.reason).inc()
        self.lists += len(stepped.lists)
        self._lists.inc(len(stepped.lists))
        for shown in stepped.lists:
            if shown.fallback:
                self._fallback.labels(shown.fallback).inc()
        self._unlisted.inc(stepped.unlisted)
        self._resets.inc(stepped.resets)
        self._late.inc(stepped.late)
        self._rebuilt.inc(stepped.rebuilt)
        self._inexact.inc(stepped.rebuilt_inexact)
        self._expired.inc(stepped.expired)
        self._wave.observe(stepped.size)
        self._step.observe(stepped.stepped_us / 1e6)
        if stepped.lists:
            received_ns = min(shown.arrival.received_ns for shown in stepped.lists)
            self._queued.observe((stepped.started_ns - received_ns) / 1e9)
            self._delay.observe((now_ns - received_ns) / 1e9)
        self.prequential.add(stepped.observed)
        for number, (partition, _, fence) in stepped.writes.items():
            self._measure(partition, fence)
            if stepped.number % 256 == 0:
                self.store_bytes.labels(number).set(partition.store.size_bytes())

    def refresh(self, version: str) -> None:
        """Set the gauges that are only worth computing when somebody looks; `version` serves now."""
        self.model.clear()
        self.model.labels(version).set(1)
        self._rss.set(peak_memory_bytes())

    def accounting(self, in_flight: int) -> dict[str, object]:
        """The identity: totals by outcome; `holds` when they and `in_flight` make up what was read."""
        totals = {name: sum(o[name] for o in list(self.outcomes.values())) for name in OUTCOMES}
        partitions = {
            str(number): {"read": self.read[number], **outcomes}
            for number, outcomes in sorted(self.outcomes.items())
        }
        read = sum(list(self.read.values()))
        return {
            "read": read,
            **totals,
            "in_flight": in_flight,
            "holds": read == sum(totals.values()) + in_flight,
            "partitions": partitions,
        }
