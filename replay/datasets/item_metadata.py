"""Title, brand, category and price of items, held in memory and joined to events by item id.

Tested by tests/unit/replay/datasets/test_movielens.py.
"""

from __future__ import annotations

import pandas as pd

from stream.events import OPTIONAL_FIELDS

COLUMNS = tuple(name for name in OPTIONAL_FIELDS if name != "user_id")


class ItemMetadata:
    """The rows of metadata files by item; the first of several rows of an item counts.

    All rows are in memory: 100 to 300 bytes an item. `repeated` counts the rows that were dropped.

    >>> items = ItemMetadata([pd.DataFrame({"item_id": ["i1"], "title": ["Lamp"]})])
    >>> items.join(pd.DataFrame({"item_id": ["i1", "i2"]}))["title"].tolist()
    ['Lamp', nan]
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
        """The events with the metadata columns; values are missing for unknown items."""
        at = self._index.get_indexer(pd.Index(events["item_id"]))
        columns = {
            name: pd.Series(values.take(at, allow_fill=True), index=events.index)
            for name, values in self._columns.items()
        }
        return events.assign(**columns)
