"""Metadata of items, held in memory and joined to events by item id: title, brand, category, price."""

from __future__ import annotations

import pandas as pd

COLUMNS = ("price", "brand", "category", "title")


class ItemMetadata:
    """What metadata files say about items; of an item's several rows the first one counts.

    It is held whole, 100 to 300 bytes an item.
    """

    def __init__(self, frames: list[pd.DataFrame]) -> None:
        rows = pd.concat(frames, ignore_index=True)
        first = ~rows["item_id"].duplicated()
        self.repeated = int((~first).sum())
        rows = rows[first]
        self._index = pd.Index(rows["item_id"])
        self._columns = {name: rows[name].array for name in COLUMNS if name in rows}

    def __len__(self) -> int:
        return len(self._index)

    def join(self, events: pd.DataFrame) -> pd.DataFrame:
        """The events with these columns; missing where nothing is known about the item."""
        at = self._index.get_indexer(pd.Index(events["item_id"]))
        columns = {
            name: pd.Series(values.take(at, allow_fill=True), index=events.index)
            for name, values in self._columns.items()
        }
        return events.assign(**columns)
