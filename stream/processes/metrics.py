"""The processes of a worker as Prometheus series, of the first process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.processes.siblings import Siblings


class ProcessMetrics(Collector):
    """Which processes answer, and how often each was started again."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings

    def describe(self) -> list[Metric]:
        """Nothing before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One of each for every process."""
        up = GaugeMetricFamily(
            "nextclick_process_up",
            "1 while the process answers; else its other series are absent",
            labels=["process"],
        )
        restarts = CounterMetricFamily(
            "nextclick_process_restarts",
            "times that the process ended and was started again",
            labels=["process"],
        )
        table = self._siblings.table
        for number in range(table.processes):
            up.add_metric([str(number)], number == 0 or number in self._siblings.answered)
            restarts.add_metric([str(number)], table.restarts(number))
        yield from (up, restarts)
