"""The Prometheus series of an archiver, read at each scrape.

Tested by tests/integration/test_prometheus.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.event_log.archiver import ArchiveReport


class ArchiveMetrics(Collector):
    """The series of one archiver, which keeps `report` up to date."""

    def __init__(self, report: ArchiveReport) -> None:
        self._report = report

    def describe(self) -> list[Metric]:
        """No series before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Events and files since the start, and the lag."""
        report = self._report
        yield CounterMetricFamily("nextclick_archive_events", "records in named files", value=report.events)
        yield CounterMetricFamily("nextclick_archive_files", "files finished and named", value=report.parts)
        yield GaugeMetricFamily(
            "nextclick_archive_lag_records", "of these partitions, in no named file", value=report.lag
        )
