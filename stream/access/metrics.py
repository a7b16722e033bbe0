"""Prometheus series of the web server's certificate. Tested by tests/security/test_certificates.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector


class CertificateMetrics(Collector):
    """When the certificate ends that new connections are shown; nothing where there is none."""

    def __init__(self, ends_s: Callable[[], float | None]) -> None:
        self._ends_s = ends_s

    def describe(self) -> list[Metric]:
        """Nothing before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The one gauge."""
        ends_s = self._ends_s()
        if ends_s is not None:
            gauge = GaugeMetricFamily(
                "nextclick_web_certificate_ends_timestamp_seconds",
                "when the certificate ends that new connections to the web server are shown",
            )
            gauge.add_metric([], ends_s)
            yield gauge
