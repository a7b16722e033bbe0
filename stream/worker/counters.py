"""Counters and histograms of one worker, and the accounting identity.

Per partition, at rest: read + lost = stepped + duplicate + unknown + ended + left out + dead-lettered + lost;
while waves are under way, the difference is in flight. A wave is counted once it is durable. Lost are
the events that left the log (retention, deletion) before this worker had read them.
Gauges are read at each scrape: see `gauges`. No label takes its values from the data.
Tested by tests/integration/test_prometheus.py and tests/integration/test_worker.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics
from prometheus_client.registry import Collector

from model.registry.version_files import REFUSALS
from stream.events import DISMISS, FALLBACKS, LEFT_OUT_REASONS, REASONS
from stream.experiments.experiment import SIDES
from stream.quality.prequential import Prequential
from stream.wave.processor import OUTCOMES
from stream.wave.stepped_wave import SteppedWave
from stream.worker.producer_faults import FAULTS

KEPT_REFUSALS = 10
# Reasons for which an announced version is not served, beside the registry's own.
ANNOUNCEMENT, UNSERVABLE = "announcement", "unservable"
UNKNOWN = "unknown"
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
# From a click to its list by the wall: no finer than clocks of two machines, up to what a day's outage makes.
AGE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 3_600, 14_400, 86_400)


class WorkerCounters(Collector):
    """Counts of one worker process; `prequential` scores the durable events."""

    def __init__(self, prequential: Prequential) -> None:
        # Else each counter has a second series, its time of creation, which nothing reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.prequential = prequential
        self.read: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.begun_anew: set[int] = set()
        self.producer_faults = dict.fromkeys(FAULTS, 0)
        self.outcomes: dict[int, dict[str, int]] = {}
        self.lists = 0
        # The newest refusals of versions: reason, and what happened.
        self.refused_versions: deque[dict[str, str]] = deque(maxlen=KEPT_REFUSALS)
        self._series = r = CollectorRegistry()
        self._read = Counter("nextclick_events_read", "events read", ["partition"], registry=r)
        self._lost = Counter(
            "nextclick_lost_events", "gone from the log before they were read", ["partition"], registry=r
        )
        self._skipped = Counter(
            "nextclick_skipped_events",
            "that get no list, because another program set the group's offset after them",
            ["partition"],
            registry=r,
        )
        self._begun_anew = Counter(
            "nextclick_partitions_begun_anew", "their offsets were of a topic before this one", registry=r
        )
        self._outcome = Counter(
            "nextclick_events", "events by outcome, durable", ["partition", "outcome"], registry=r
        )
        self._rejected = Counter(
            "nextclick_rejected_events", "dead letters by reason", ["reason"], registry=r
        )
        self._left_out = Counter(
            "nextclick_left_out_events", "readable records that no model steps", ["reason"], registry=r
        )
        self._producer_faults = Counter(
            "nextclick_producer_faults", "events read that break a producer's duty", ["reason"], registry=r
        )
        self._lists = Counter("nextclick_lists", "lists published and acknowledged", registry=r)
        self._placed = Counter(
            "nextclick_placement_lists", "of published placements, acknowledged", registry=r
        )
        self._unplaced = Counter(
            "nextclick_placement_left_out_lists",
            "of published placements in whose category no item is known",
            registry=r,
        )
        self._fallback = Counter("nextclick_fallback_lists", "lists of no step", ["reason"], registry=r)
        self._unlisted = Counter(
            "nextclick_unlisted_events", "events stepped without a list, to catch up", registry=r
        )
        self._resets = Counter("nextclick_session_resets", "sessions begun anew after silence", registry=r)
        self._late = Counter("nextclick_late_events", "events behind their session's last", registry=r)
        self._other_kinds = Counter(
            "nextclick_other_kind_events",
            "stepped, of kinds that the version was not trained on",
            registry=r,
        )
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
        self._age = Histogram(
            "nextclick_event_to_list_seconds",
            "newest event of a wave, event time to durable list by the wall",
            buckets=AGE_SECONDS,
            registry=r,
        )
        self._refused = Counter(
            "nextclick_refused_versions", "announcements not followed", ["reason"], registry=r
        )
        self._rollbacks = Counter("nextclick_rollbacks", "this worker's own", registry=r)
        self._experiment_lists = Counter(
            "nextclick_experiment_lists", "lists of an experiment", ["side"], registry=r
        )
        for side in SIDES:
            self._experiment_lists.labels(side)
        for reason in REASONS:
            self._rejected.labels(reason)
        for reason in (*LEFT_OUT_REASONS, DISMISS):
            self._left_out.labels(reason)
        for reason in FAULTS:
            self._producer_faults.labels(reason)
        for reason in FALLBACKS:
            self._fallback.labels(reason)
        for reason in (ANNOUNCEMENT, UNSERVABLE, *REFUSALS):
            self._refused.labels(reason)

    def collect(self) -> Iterable[Metric]:
        """Every counter and histogram."""
        return self._series.collect()

    def open_partition(self, number: int, skipped: int = 0) -> None:
        """Start the counts of a partition, at zero; `skipped` events of it get no list."""
        self.read.setdefault(number, 0)
        self.lost.setdefault(number, 0)
        self.outcomes.setdefault(number, dict.fromkeys(OUTCOMES, 0))
        self._read.labels(number)
        self._lost.labels(number)
        self._skipped.labels(number).inc(skipped)
        for outcome in OUTCOMES:
            self._outcome.labels(number, outcome)

    def add_read(self, counts: dict[int, int]) -> None:
        """Count records read, by partition."""
        for number, count in counts.items():
            self.read[number] += count
            self._read.labels(number).inc(count)

    def add_producer_fault(self, fault: str, events: int) -> None:
        """Count events that a producer has sent otherwise than it should."""
        self.producer_faults[fault] += events
        self._producer_faults.labels(fault).inc(events)

    def add_begun_anew(self, number: int) -> None:
        """Count a partition whose state and offsets were another topic's, read from its beginning."""
        self.begun_anew.add(number)
        self._begun_anew.inc()

    def add_lost(self, number: int, events: int) -> None:
        """Count events of a partition that left the log before they were read."""
        self.lost[number] += events
        self._lost.labels(number).inc(events)

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
        for reason, count in stepped.left_out.items():
            self._left_out.labels(reason).inc(count)
        self.lists += len(stepped.lists)
        self._lists.inc(len(stepped.lists))
        for shown in stepped.lists:
            if shown.fallback:
                self._fallback.labels(shown.fallback).inc()
            if shown.side:
                self._experiment_lists.labels(shown.side).inc()
        self._placed.inc(len(stepped.placed))
        self._unplaced.inc(stepped.unplaced)
        self._unlisted.inc(stepped.unlisted)
        self._resets.inc(stepped.resets)
        self._late.inc(stepped.late)
        self._other_kinds.inc(stepped.other_kinds)
        self._rebuilt.inc(stepped.rebuilt)
        self._inexact.inc(stepped.rebuilt_inexact)
        self._expired.inc(stepped.expired)
        self._wave.observe(stepped.size)
        self._step.observe(stepped.stepped_us / 1e6)
        if stepped.lists:
            received_ns = min(shown.arrival.received_ns for shown in stepped.lists)
            self._queued.observe((stepped.started_ns - received_ns) / 1e9)
            self._delay.observe((now_ns - received_ns) / 1e9)
            newest_ms = max(shown.event_time_ms for shown in stepped.lists)
            self._age.observe(max(0.0, time.time() - newest_ms / 1000))
        self.prequential.add(stepped.observed)

    def add_refused_version(self, reason: str, what: str) -> None:
        """Count a version that is not served, and keep what happened.

        A name that is no version's is anybody's text: the log alone has it.
        """
        if reason == UNKNOWN:
            what = "the registry has no version of the announced name; the log has the name"
        self.refused_versions.append({"reason": reason, "error": what})
        self._refused.labels(reason).inc()

    def add_rollback(self) -> None:
        """Count a rollback that this worker made."""
        self._rollbacks.inc()

    def difference(self, in_flight: int) -> int:
        """Records read that no outcome and not `in_flight` accounts for; 0 but while a wave moves."""
        done = sum(sum(outcomes.values()) for outcomes in list(self.outcomes.values()))
        return sum(list(self.read.values())) - done - in_flight

    def accounting(self, in_flight: int) -> dict[str, object]:
        """The identity: totals by outcome; `holds` when they and `in_flight` make up what was read.

        What the log had for this worker is `read` + `lost`.
        """
        totals = {name: sum(o[name] for o in list(self.outcomes.values())) for name in OUTCOMES}
        partitions = {
            str(number): {"read": self.read[number], "lost": self.lost[number], **outcomes}
            for number, outcomes in sorted(self.outcomes.items())
        }
        read = sum(list(self.read.values()))
        return {
            "read": read,
            "lost": sum(list(self.lost.values())),
            **totals,
            "in_flight": in_flight,
            "holds": read == sum(totals.values()) + in_flight,
            "partitions": partitions,
        }
