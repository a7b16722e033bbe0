"""The Prometheus series of a recorder of outcomes, read at each scrape.

Tested by tests/faults/test_outcomes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.outcomes.outcome_join import LEFT_OUT_REASONS
from stream.outcomes.outcome_report import OutcomeReport


class OutcomeMetrics(Collector):
    """The series of one recorder, which keeps `report` up to date; `topics` are the two that it reads."""

    def __init__(self, report: OutcomeReport, topics: tuple[str, str]) -> None:
        self._report, self._topics = report, topics

    def describe(self) -> list[Metric]:
        """No series before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What became of the lists since the start, and what waits."""
        report = self._report
        for name, help_, field in (
            ("lists", "lists whose time is over, committed", "lists"),
            ("records", "of these, outcomes written", "outcomes"),
            ("closed_early_lists", "closed before their time, since memory was full", "closed_early"),
            ("events", "events read", "events"),
            ("late_events", "of these, later than allowed_lateness_s", "late_events"),
        ):
            yield CounterMetricFamily(f"nextclick_outcomes_{name}", help_, value=getattr(report, field))
        left_out = CounterMetricFamily(
            "nextclick_outcomes_left_out_lists", "lists without an outcome", labels=["reason"]
        )
        for reason in LEFT_OUT_REASONS:
            left_out.add_metric([reason], report.left_out[reason])
        yield left_out
        lost = CounterMetricFamily(
            "nextclick_outcomes_lost_records", "gone from the log before they were read", labels=["topic"]
        )
        for topic in self._topics:
            lost.add_metric([topic], report.lost[topic])
        yield lost
        for name, help_, field in (
            ("difference_lists", "lists, less all that became of them; 0", "difference"),
            ("lag_records", "events not read yet", "lag"),
            ("waiting_lists", "in memory, until their time is over", "waiting"),
            ("kept_events", "in memory, which lists may need", "kept"),
        ):
            yield GaugeMetricFamily(f"nextclick_outcomes_{name}", help_, value=getattr(report, field))
