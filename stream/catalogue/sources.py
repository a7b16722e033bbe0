"""All that a worker's catalogue is filled from: the topics of items and of purchases, the file of rules.

Tested by tests/integration/test_items.py and tests/integration/test_purchases.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from confluent_kafka.admin import AdminClient

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.items_reader import ItemsReader
from stream.catalogue.purchases_reader import PurchasesReader
from stream.catalogue.rules_file import RulesFile
from stream.kafka.topics import partition_counts
from stream.settings import Settings


class Source(Protocol):
    """What is read whole, then followed."""

    def load(self) -> None:
        """Read it as it is now. Raises NextclickError."""

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Follow it in a thread."""


class CatalogueSources:
    """Fills a catalogue: `load` before the worker serves, then `start` to follow every change."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings, self._catalogue = settings, catalogue
        purchases = PurchasesReader(settings, catalogue.purchases)
        self._sources: list[Source] = [ItemsReader(settings, catalogue), purchases]
        if settings.rules is not None:
            # Last: whether they can be followed depends on what there is.
            self._sources.append(RulesFile(settings.rules, catalogue))

    def load(self) -> None:
        """Read everything as it is now. Raises NextclickError when something cannot be read or followed."""
        admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
        topics = partition_counts(admin, self._settings)
        self._catalogue.publishes_placements = bool(topics.get(self._settings.placements_topic))
        for source in self._sources:
            source.load()

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Follow each in a thread of its own."""
        for source in self._sources:
            source.start(on_failure)
