"""The Prometheus series of an ingester, read at each scrape.

Tested by tests/unit/stream/ingest/test_ingest_metrics.py and tests/faults/test_ingest.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.events import LEFT_OUT_REASONS, REASONS
from stream.ingest.ingest_report import IngestReport


class IngestMetrics(Collector):
    """The series of one ingester, which keeps `report` up to date."""

    def __init__(self, report: IngestReport) -> None:
        self._report = report

    def describe(self) -> list[Metric]:
        """No series before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What became of the records since the start, and what waits."""
        report = self._report
        yield CounterMetricFamily("nextclick_ingest_records", "records taken, committed", value=report.taken)
        yield CounterMetricFamily(
            "nextclick_ingest_given_on_records", "of these, events now", value=report.given_on
        )
        yield CounterMetricFamily("nextclick_ingest_events", "events that they became", value=report.events)
        left_out = CounterMetricFamily(
            "nextclick_ingest_left_out_records", "readable records that are no events", labels=["reason"]
        )
        for reason in LEFT_OUT_REASONS:
            left_out.add_metric([reason], report.left_out[reason])
        yield left_out
        rejected = CounterMetricFamily(
            "nextclick_ingest_rejected_records", "dead letters by reason", labels=["reason"]
        )
        for reason in REASONS:
            rejected.add_metric([reason], report.dead_lettered[reason])
        yield rejected
        yield CounterMetricFamily(
            "nextclick_ingest_lost_records", "gone from the log before they were taken", value=report.lost
        )
        yield CounterMetricFamily(
            "nextclick_ingest_partitions_begun_anew",
            "their committed offsets were of a topic before this one",
            value=report.begun_anew,
        )
        yield GaugeMetricFamily(
            "nextclick_ingest_difference_records",
            "taken, less all that became of them; 0",
            value=report.difference,
        )
        yield GaugeMetricFamily("nextclick_ingest_lag_records", "not taken yet", value=report.lag)
        # Copies: the ingester adds topics meanwhile.
        taken = CounterMetricFamily(
            "nextclick_ingest_source_records", "records taken, committed, by topic", labels=["topic"]
        )
        for topic, count in dict(report.taken_of).items():
            taken.add_metric([topic], count)
        yield taken
        lag = GaugeMetricFamily(
            "nextclick_ingest_source_lag_records", "not taken yet, by topic", labels=["topic"]
        )
        for topic, count in report.lag_of.items():
            lag.add_metric([topic], count)
        yield lag
        transactions = CounterMetricFamily(
            "nextclick_ingest_transactions",
            "batches; aborted: the group gave partitions to others, and the records are read again",
            labels=["outcome"],
        )
        transactions.add_metric(["committed"], report.committed)
        transactions.add_metric(["aborted"], report.aborted)
        yield transactions
        yield GaugeMetricFamily(
            "nextclick_ingest_waiting", "1 while a schema is waited for", value=bool(report.waiting)
        )
