"""Prometheus series of what is known of the items and of purchases. Read at each scrape.

Tested by tests/unit/stream/catalogue/test_metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import REASONS
from stream.catalogue.purchases import REASONS as PURCHASE_REASONS
from stream.catalogue.purchases import Purchases


class CatalogueMetrics(Collector):
    """Gauges and counters of one worker's catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def collect(self) -> Iterable[Metric]:
        """Yields nothing of items or purchases without a topic of them, nothing of rules without a file."""
        catalogue, reading = self._catalogue, self._catalogue.reading
        if catalogue.rules.version:
            info = GaugeMetricFamily(
                "nextclick_rules_info", "1 for the version of the rules that hold", labels=["version"]
            )
            info.add_metric([catalogue.rules.version], 1)
            yield info
            yield CounterMetricFamily(
                "nextclick_rules_refused", "versions of the file of rules", value=catalogue.refused_rules
            )
        yield from _of_purchases(catalogue.purchases)
        if reading.lag is None:
            return
        yield GaugeMetricFamily(
            "nextclick_items", "about which the shop has said something", value=len(catalogue.table)
        )
        yield GaugeMetricFamily(
            "nextclick_items_unlisted", "of these, that no list may have", value=catalogue.unlisted
        )
        yield CounterMetricFamily(
            "nextclick_item_words", "of the items topic, applied since the start", value=reading.words
        )
        rejected = CounterMetricFamily(
            "nextclick_item_words_rejected", "records that are no word about an item", labels=["reason"]
        )
        for reason in REASONS:
            rejected.add_metric([reason], reading.rejected[reason])
        yield rejected
        yield GaugeMetricFamily(
            "nextclick_item_words_lag", "records of the items topic not read yet", value=reading.lag
        )
        yield GaugeMetricFamily(
            "nextclick_items_checked_timestamp_seconds",
            "wall time when the brokers last said how far the items topic goes",
            value=reading.checked_s,
        )


def _of_purchases(purchases: Purchases) -> Iterable[Metric]:
    reading = purchases.reading
    if reading.lag is None:
        return
    yield GaugeMetricFamily("nextclick_purchases_users", "of whom a purchase is kept", value=len(purchases))
    yield CounterMetricFamily(
        "nextclick_purchases",
        "records of the purchases topic, applied since the start",
        value=reading.records,
    )
    rejected = CounterMetricFamily(
        "nextclick_purchases_rejected", "records that are no purchase", labels=["reason"]
    )
    for reason in PURCHASE_REASONS:
        rejected.add_metric([reason], reading.rejected[reason])
    yield rejected
    yield GaugeMetricFamily(
        "nextclick_purchases_lag", "records of the purchases topic not read yet", value=reading.lag
    )
    yield GaugeMetricFamily(
        "nextclick_purchases_checked_timestamp_seconds",
        "wall time when the brokers last said how far the purchases topic goes",
        value=reading.checked_s,
    )
