"""Prometheus series of what was asked, by kind and outcome. No label takes its values from the data.

Tested by tests/unit/stream/asking/test_views.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector

KINDS = ("recommendations", "rank", "similar", "try")
# `fallback`: popular items, since nothing of the session counts.
# `forwarded`: by the worker that has the partition; `stale`: a list known from before, since it is silent;
# `elsewhere`: 503, for the same reason.
OUTCOMES = (
    "answered", "fallback", "forwarded", "stale", "refused", "elsewhere", "not_ready", "busy", "failed",
)  # fmt: skip
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class AskingMetrics(Collector):
    """Counts and times of requests.

    >>> metrics = AskingMetrics()
    >>> metrics.add("rank", "answered", 0.002)
    >>> metrics.count("rank", "answered")
    1
    """

    def __init__(self) -> None:
        self._series = r = CollectorRegistry()
        self._asked = Counter(
            "nextclick_asked", "requests for lists, by kind and outcome", ["kind", "outcome"], registry=r
        )
        self._took = Histogram(
            "nextclick_ask_duration_seconds",
            "from a request that passed the guard to its answer",
            ["kind"],
            buckets=SECONDS,
            registry=r,
        )
        for kind in KINDS:
            self._took.labels(kind)
            for outcome in OUTCOMES:
                self._asked.labels(kind, outcome)

    def collect(self) -> Iterable[Metric]:
        """Every series."""
        return self._series.collect()

    def add(self, kind: str, outcome: str, seconds: float) -> None:
        """Count one request."""
        self._asked.labels(kind, outcome).inc()
        self._took.labels(kind).observe(seconds)

    def count(self, kind: str, outcome: str) -> int:
        """How many requests of a kind had an outcome."""
        labels = {"kind": kind, "outcome": outcome}
        return int(self._series.get_sample_value("nextclick_asked_total", labels) or 0)
