"""A version's vocabulary with room for items that appear after its training.

An index that was given to an item stays that item's.
Tested by tests/unit/model/freshness/test_refresher.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.vocabulary import Vocabulary


class GrowingVocabulary(Vocabulary):
    """The vocabulary `trained` with room for `room` more items.

    Its length and its counts stay as trained. One thread adds items while others look
    them up; `on_added` is called with the index and the id of each.

    >>> vocabulary = GrowingVocabulary(Vocabulary(["a", "b"], np.array([2, 1])), room=1)
    >>> vocabulary.add_item(2, "new")
    >>> vocabulary.encode(["new", "a", "other"]).tolist()
    [2, 0, -1]
    """

    def __init__(self, trained: Vocabulary, room: int) -> None:
        super().__init__(
            trained.item_ids.tolist(), trained.counts, trained.titles, trained.features, trained.attributes
        )
        self.item_ids = np.concatenate([self.item_ids, np.full(room, None, object)])
        self.added_items = 0
        self.on_added: Callable[[int, str], None] = lambda index, item_id: None

    def __len__(self) -> int:
        return len(self.counts)

    def add_item(self, index: int, item_id: str) -> None:
        """Give the free `index` to an item. Raises ValueError when the index or the item has a partner."""
        if self.item_ids[index] is not None or item_id in self.index:
            raise ValueError(f"{item_id} at {index}: one of them is taken")
        # In this order: a thread that finds the index also finds the id.
        self.item_ids[index] = item_id
        self.index[item_id] = index
        self.added_items += 1
        self.on_added(index, item_id)

    def encode(self, ids: Sequence[str] | pd.Series[str]) -> npt.NDArray[np.int64]:
        """Indices of item ids; -1 for unknown ones."""
        index = self.index
        return np.fromiter((index.get(item, -1) for item in ids), np.int64, len(ids))
