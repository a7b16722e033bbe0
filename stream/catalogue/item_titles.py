"""Titles of items as the shop says them now, and as a version has learned them where it says none.

Tested by tests/unit/stream/asking/test_found_items.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stream.catalogue.item_table import ItemTable


class Titles(Protocol):
    """Where titles are looked up: a dictionary, or what the shop says."""

    def get(self, item_id: str, /) -> str | None:
        """The title of an item, None without one."""


class ItemTitles:
    """Looks up one title after the other: none is held a second time.

    >>> table = ItemTable()
    >>> row = table.put("sku-1", ItemWord(title="White mug"))
    >>> titles = ItemTitles(table, {"sku-1": "Mug", "sku-2": "Bowl"})
    >>> titles.get("sku-1"), titles.get("sku-2"), titles.get("sku-3")
    ('White mug', 'Bowl', None)
    """

    def __init__(self, table: ItemTable, learned: Mapping[str, str]) -> None:
        self._table, self._learned = table, learned

    def get(self, item_id: str, /) -> str | None:
        """The title of an item, None without one."""
        return self.said(item_id) or self._learned.get(item_id)

    def said(self, item_id: str) -> str | None:
        """The title that the shop says, None where it says none."""
        row = self._table.rows.get(item_id)
        return None if row is None else self._table.details(row)[0]
