from prometheus_client import CollectorRegistry

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.metrics import CatalogueMetrics


def test_the_series_say_what_is_known_and_how_far_the_topic_is_read() -> None:
    catalogue, registry = Catalogue(), CollectorRegistry()
    registry.register(CatalogueMetrics(catalogue))
    assert registry.get_sample_value("nextclick_items") is None
    catalogue.apply([("a", ItemWord(available=False)), ("b", ItemWord())], "0-1")
    catalogue.reading.words, catalogue.reading.lag, catalogue.reading.checked_s = 2, 5, 77.0
    catalogue.reading.rejected["price"] += 3
    values = {
        name: registry.get_sample_value(name)
        for name in (
            "nextclick_items", "nextclick_items_unlisted", "nextclick_item_words_total",
            "nextclick_item_words_lag", "nextclick_items_checked_timestamp_seconds",
        )
    }  # fmt: skip
    assert list(values.values()) == [2, 1, 2, 5, 77]
    rejected = registry.get_sample_value("nextclick_item_words_rejected_total", {"reason": "price"})
    assert rejected == 3
