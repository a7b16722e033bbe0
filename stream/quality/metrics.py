"""Quality as Prometheus series, computed at each scrape.

Label values come from fixed sets, except for the newest few model versions; the series of a
version ends when newer versions displace it. Events, hits and reciprocal ranks of several workers
may be added, Recall@20 and MRR@20 may not.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.quality.cells import LEARNED, SYSTEMS, UNIT
from stream.quality.prequential import Prequential
from stream.quality.source_quality import NEW, PARTS
from stream.quality.sums import measured

# Without `total`: the sums since the start are counters, from which Prometheus makes its own windows.
SHOWN_WINDOWS = ("newest", "1h", "24h", "fading")
SLICE = ("window", "slice", "value")


class QualityCollector(Collector):
    """The series of one worker's quality."""

    def __init__(self, prequential: Prequential) -> None:
        self._prequential = prequential

    def describe(self) -> list[Metric]:
        """Describe no series before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Counters since the start; gauges by window and slice, with 95 % intervals for the slice `all`.

        A scrape takes time from the waves, so the intervals of other slices are only in /api/quality.
        """
        sums = self._prequential.sums()
        counters = [
            CounterMetricFamily(f"nextclick_prequential_{name}", help_, labels=["system"])
            for name, help_ in (
                ("events", "events scored against the list shown, that the version had not learned from"),
                ("hits", "of these, in the list"),
                ("reciprocal_ranks", "sum of 1/rank of the hits"),
            )
        ]
        of_learned = [
            CounterMetricFamily(f"nextclick_in_sample_{name}", help_, labels=["system"])
            for name, help_ in (
                ("events", "events scored that the version had learned from: no measure of quality"),
                ("hits", "of these, in the list"),
                ("reciprocal_ranks", "sum of 1/rank of the hits"),
            )
        ]
        overall = self._prequential.overall()
        total, newest = measured(overall["total"]), measured(overall["newest"])
        rolling = [
            GaugeMetricFamily(f"nextclick_rolling_{name}_at_20", "newest events", labels=["system"])
            for name in ("recall", "mrr")
        ]
        learned = measured(self._prequential.in_sample()["total"])
        for system in SYSTEMS:
            for families, found_in in ((counters, total), (of_learned, learned)):
                since = found_in.get(system)
                counts = (since.events, since.hits, since.reciprocal_ranks) if since else (0.0, 0.0, 0.0)
                for counter, count in zip(families, counts, strict=True):
                    counter.add_metric([system], count)
            now = newest.get(system)
            means = (now.recall.mean, now.mrr.mean) if now else (0.0, 0.0)
            for gauge, mean in zip(rolling, means, strict=True):
                gauge.add_metric([system], mean)
        yield from counters
        yield from of_learned
        yield from rolling
        outside = CounterMetricFamily(
            "nextclick_quality_outside_events", "scored, but too late or too far ahead for windows of time"
        )
        outside.add_metric([], sums.outside)
        yield outside
        yield from self._by_source()
        gauges = {
            name: GaugeMetricFamily(f"nextclick_quality_{name}", help_, labels=["system", *SLICE])
            for name, help_ in (
                ("events", "events scored"),
                ("hits", "of these, in the list"),
                ("reciprocal_ranks", "sum of 1/rank of the hits"),
                ("recall_at_20", "share of hits"),
                ("mrr_at_20", "mean of 1/rank"),
                ("recall_at_20_low", "of its 95 % interval, by sessions"),
                ("recall_at_20_high", "of its 95 % interval, by sessions"),
                ("mrr_at_20_low", "of its 95 % interval, by sessions"),
                ("mrr_at_20_high", "of its 95 % interval, by sessions"),
            )
        }
        for window in SHOWN_WINDOWS:
            for kind, slices in sums.windows[window].items():
                for value, table in slices.items():
                    for system, found in measured(table).items():
                        numbers = (
                            found.events, found.hits, found.reciprocal_ranks,
                            found.recall.mean, found.mrr.mean,
                            *((found.recall.low, found.recall.high, found.mrr.low, found.mrr.high)
                              if kind in ("all", LEARNED) else ()),
                        )  # fmt: skip
                        for gauge, number in zip(gauges.values(), numbers, strict=False):
                            gauge.add_metric([system, window, kind, value], number)
        yield from gauges.values()

    def _by_source(self) -> Iterator[Metric]:
        """Counters since the start by source; "list" is the fused list itself on the same events."""
        labels = ["source", "version"]
        of_new = [
            CounterMetricFamily(f"nextclick_source_{name}", help_, labels=labels)
            for name, help_ in (
                ("events", "events scored by source, that the version had not learned from"),
                ("hits", "of these, in the source's own best 20"),
                ("reciprocal_ranks", "sum of 1/rank of the hits"),
            )
        ]
        of_learned = [
            CounterMetricFamily(f"nextclick_in_sample_source_{name}", help_, labels=labels)
            for name, help_ in (
                ("events", "events scored by source that the version had learned from"),
                ("hits", "of these, in the source's own best 20"),
                ("reciprocal_ranks", "sum of 1/rank of the hits"),
            )
        ]
        by_source = self._prequential.by_source()
        for part in PARTS:
            families = of_new if part == NEW else of_learned
            for version, sums in by_source[part].items():
                for source, found in sums.items():
                    numbers = (found.events, found.hits, found.reciprocal_ranks / UNIT)
                    for family, number in zip(families, numbers, strict=True):
                        family.add_metric([source, version], number)
        yield from of_new
        yield from of_learned
