"""Prometheus series of the wave: what the freshness tables hold, and how the shadow compares.

Read at each scrape; no label takes its values from the data.
Tested by tests/unit/stream/wave/test_freshness.py and tests/integration/test_promote.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.wave.serving_model import ModelSlot
from stream.wave.shadow import Shadow


class FreshnessMetrics(Collector):
    """Gauges of the tables that keep the version in service fresh."""

    def __init__(self, live: ModelSlot) -> None:
        self._live = live

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yields nothing where no version is in service or `follow` is none."""
        refresher = self._live.current.refresher if self._live.ready else None
        if refresher is None:
            return
        yield GaugeMetricFamily(
            "nextclick_provisional_items",
            "listed though born after the training",
            value=refresher.vocabulary.added_items,
        )
        yield GaugeMetricFamily(
            "nextclick_follow_age_seconds",
            "event time since the version took up what has come",
            value=refresher.age_ms / 1000,
        )


class ExperimentMetrics(Collector):
    """The announced experiment."""

    def __init__(self, live: ModelSlot) -> None:
        self._live = live

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yields nothing without an experiment."""
        report = self._live.experiment_report()
        if report is None:
            return
        labels = ["experiment", "champion", "challenger", "mode"]
        served = GaugeMetricFamily(
            "nextclick_experiment_served",
            "1 while this worker serves both versions, 0 while it serves the champion alone",
            labels=labels,
        )
        served.add_metric([str(report[label]) for label in labels], float(bool(report["served"])))
        yield served


class ShadowMetrics(Collector):
    """The report of the trial under way as gauges."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yields nothing without a trial."""
        report = self._shadow.report()
        if report is None:
            return
        info = GaugeMetricFamily(
            "nextclick_shadow_info", "1 for the version in the shadow", labels=["version", "role"]
        )
        info.add_metric([report["version"], report["role"]], 1)
        yield info
        for name in ("sessions", "events"):
            help_text = f"scored {name} of champion and shadow"
            yield GaugeMetricFamily(f"nextclick_shadow_{name}", help_text, value=report[name])
        for measure in ("recall", "mrr"):
            both = GaugeMetricFamily(
                f"nextclick_shadow_{measure}_at_20", "on the same events", labels=["system"]
            )
            for system, value in report[f"{measure}_at_20"].items():
                both.add_metric([system], value)
            yield both
            if report[f"{measure}_difference"] is None:
                continue
            difference = GaugeMetricFamily(
                f"nextclick_shadow_{measure}_difference",
                "shadow less champion, and its 95 % confidence sequence",
                labels=["bound"],
            )
            for bound, value in zip(("mean", "low", "high"), report[f"{measure}_difference"], strict=True):
                difference.add_metric([bound], value)
            yield difference
