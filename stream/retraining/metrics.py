"""What retraining tells Prometheus, from the reports that lie in the registry's folder.

So the series of a process that runs by a schedule and of one that cron starts anew are the
same, and a restart forgets nothing. A report is read once. What ends before it is a run (a wrong
setting, another retraining under way) has no report and counts for nothing.
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

from model.registry.registry import REPORTS
from stream.logs import happening

OUTCOMES = ("accepted", "refused", "failed")
STEPS = ("read", "split", "train", "evaluate", "gate", "finish", "save", "promote", "announce")
# Labels of what a challenger is measured beside: by the names in a report's standings.
SYSTEMS = {"challenger": "challenger", "champion": "champion", "POP": "pop", "transitions": "transitions"}
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
    """What is told of a RunReport."""

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


class RetrainMetrics(Collector):
    """Series of all runs of a registry, and of the newest one.

    `running` is set by the process that runs one; may be collected from any thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: set[str] = set()
        self._runs = dict.fromkeys(OUTCOMES, 0)
        self._newest_s = dict.fromkeys(OUTCOMES, 0.0)
        self._newest: _Report | None = None
        self._judged: list[_Standing] = []
        self._lock = threading.Lock()
        self.running = False

    def describe(self) -> list[Metric]:
        """Nothing before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the reports that are new, and tell."""
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
            yield from _of_run(self._newest)
            yield from _of_gate(self._judged)

    def _read_new(self) -> None:
        for path in sorted((self._root / REPORTS).glob("[!.]*/report.json")):
            run = path.parent.name
            if run in self._read:
                continue
            self._read.add(run)
            try:
                report = msgspec.json.decode(path.read_bytes(), type=_Report)
                begin = datetime.strptime(run, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
            except (OSError, ValueError) as error:
                logger.warning(
                    "the report %s cannot be read, its run is not counted: %s",
                    path,
                    error,
                    extra=happening("report_unreadable", path=str(path), error=str(error)),
                )
                continue
            self._runs[report.outcome] += 1
            self._newest_s[report.outcome] = begin.timestamp()
            self._newest = report
            # What is refused for want of events has none; what was found last stays worth knowing.
            if report.decision is not None and report.decision.standings:
                self._judged = report.decision.standings


def _of_run(report: _Report) -> Iterator[Metric]:
    """The newest run: its steps, what it read and learned."""
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


def _of_gate(standings: list[_Standing]) -> Iterator[Metric]:
    """The held-out quality that the gate decided on, of the newest run that came so far."""
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
