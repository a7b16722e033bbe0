"""The Prometheus series of retraining, made from the reports in the registry's folder.

A scheduled process and one that cron starts therefore export the same series, and a restart loses
nothing. Each report is read once. A run that failed without one, because the registry is read-only or full,
is counted by the process that made it. A run that ends before it begins (a wrong setting, another
retraining under way) is not counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model.networks.fused.source_arrays import SOURCES
from model.registry.bounded_files import read_bounded
from model.registry.registry import MOST_REPORT_BYTES, REPORTS
from stream.logs import happening

OUTCOMES = ("accepted", "refused", "failed")
STEPS = ("read", "split", "train", "evaluate", "gate", "finish", "save", "promote", "announce")
# Labels by the names in a report's standings.
SYSTEMS = {
    "challenger": "challenger",
    "champion": "champion",
    "POP": "pop",
    "transitions": "transitions",
    **{f"{source} alone": f"{source} alone" for source in SOURCES},
}
logger = logging.getLogger(__name__)


class _Mean(msgspec.Struct):
    mean: float


class _Standing(msgspec.Struct):
    name: str
    recall: _Mean
    mrr: _Mean


class _Decision(msgspec.Struct):
    standings: list[_Standing]


class _Report(msgspec.Struct):
    """The fields of a RunReport that have a series."""

    outcome: Literal["accepted", "refused", "failed"]
    seconds: dict[str, float]
    events: int
    rejected: dict[str, int]
    items: int
    new_items: int
    training_events: int
    training_events_per_s: float
    peak_memory_bytes: int
    decision: _Decision | None
    # Reports of before counted these as rejected.
    left_out: dict[str, int] = {}


class RetrainMetrics(Collector):
    """Series of all runs of a registry, and of the newest one.

    The process that retrains sets `running`. `collect` may be called from any thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: set[str] = set()
        self._runs = dict.fromkeys(OUTCOMES, 0)
        self._newest_s = dict.fromkeys(OUTCOMES, 0.0)
        self._newest: _Report | None = None
        self._newest_standings: list[_Standing] = []
        self._lock = threading.Lock()
        self.running = False

    def add_failure(self, begin_s: float) -> None:
        """Count a run of this process, begun at `begin_s`, that failed, unless its report is there."""
        with self._lock:
            self._read_new()
            # Reports know their begin to a millisecond.
            if self._newest_s["failed"] < begin_s - 0.001:
                self._runs["failed"] += 1
                self._newest_s["failed"] = begin_s

    def describe(self) -> list[Metric]:
        """No series before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the new reports, and yield the series."""
        with self._lock:
            self._read_new()
        runs = CounterMetricFamily("nextclick_retrain_runs", "runs by outcome", labels=["outcome"])
        for outcome, count in self._runs.items():
            runs.add_metric([outcome], count)
        yield runs
        yield CounterMetricFamily(
            "nextclick_retrain_failures", "runs that came to no decision", value=self._runs["failed"]
        )
        for name, help_, outcomes in (
            (
                "success",
                "begin of the newest run that the gate decided on, accepted or refused",
                OUTCOMES[:2],
            ),
            ("accepted", "begin of the newest run whose version was accepted", OUTCOMES[:1]),
            ("failure", "begin of the newest run that failed", OUTCOMES[2:]),
        ):
            yield GaugeMetricFamily(
                f"nextclick_retrain_last_{name}_timestamp_seconds",
                f"{help_}, epoch; 0 without one",
                value=max(self._newest_s[outcome] for outcome in outcomes),
            )
        yield GaugeMetricFamily("nextclick_retrain_running", "1 while one is under way", value=self.running)
        if self._newest is not None:
            yield from _run_metrics(self._newest)
            yield from _gate_metrics(self._newest_standings)

    def _read_new(self) -> None:
        for path in sorted((self._root / REPORTS).glob("[!.]*/report.json")):
            run = path.parent.name
            if run in self._read:
                continue
            self._read.add(run)
            try:
                report = msgspec.json.decode(read_bounded(path, MOST_REPORT_BYTES), type=_Report)
                begin = datetime.strptime(run, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
            except (OSError, ValueError, RecursionError) as error:
                logger.warning(
                    "the report %s cannot be read, its run is not counted: %s",
                    path,
                    error,
                    extra=happening("report_unreadable", path=str(path), error=str(error)),
                )
                continue
            self._runs[report.outcome] += 1
            self._newest_s[report.outcome] = max(self._newest_s[report.outcome], begin.timestamp())
            self._newest = report
            # A run refused for too few events has no standings: those of the run before stay.
            if report.decision is not None and report.decision.standings:
                self._newest_standings = report.decision.standings


def _run_metrics(report: _Report) -> Iterator[Metric]:
    """The newest run: seconds by step, events read and learned."""
    seconds = GaugeMetricFamily(
        "nextclick_retrain_duration_seconds", "of the newest run, wall, by step", labels=["step"]
    )
    for step in STEPS:
        seconds.add_metric([step], report.seconds.get(step, 0.0))
    yield seconds
    for name, help_, field in (
        ("events", "read", "events"),
        ("items", "in the vocabulary", "items"),
        ("new_items", "of these, unknown to the champion", "new_items"),
        ("training_events", "next events learned from", "training_events"),
        ("training_events_per_second", "of these, in a second", "training_events_per_s"),
        ("peak_memory_bytes", "most that its process has had", "peak_memory_bytes"),
    ):
        yield GaugeMetricFamily(
            f"nextclick_retrain_{name}", f"newest run: {help_}", value=getattr(report, field)
        )
    yield GaugeMetricFamily(
        "nextclick_retrain_rejected_events",
        "newest run: records that could not be read",
        value=sum(report.rejected.values()),
    )
    yield GaugeMetricFamily(
        "nextclick_retrain_left_out_events",
        "newest run: records that the mapping of the topic takes for no events",
        value=sum(report.left_out.values()),
    )


def _gate_metrics(standings: list[_Standing]) -> Iterator[Metric]:
    """The held-out quality that the gate decided on, of the newest run that was evaluated."""
    for measure in ("recall", "mrr"):
        family = GaugeMetricFamily(
            f"nextclick_retrain_{measure}_at_20",
            "newest run that was evaluated: on the events held out",
            labels=["system"],
        )
        for row in standings:
            if row.name in SYSTEMS:
                family.add_metric([SYSTEMS[row.name]], getattr(row, measure).mean)
        yield family
