"""A version's vocabulary and, behind it, items born since: each index is given to one item for good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.vocabulary import Vocabulary


class GrowingVocabulary(Vocabulary):
    """`trained` with room for `room` more items; its length and its counts are those of the training.

    One thread names items while others look them up.
    """

    def __init__(self, trained: Vocabulary, room: int) -> None:
        super().__init__(trained.item_ids.tolist(), trained.counts, trained.titles, trained.features)
        self.item_ids = np.concatenate([self.item_ids, np.full(room, None, object)])
        self.named = 0

    def __len__(self) -> int:
        return len(self.counts)

    def name(self, index: int, item_id: str) -> None:
        """Let a free index behind the trained ones be this item's from now on."""
        if self.item_ids[index] is not None or item_id in self.index:
            raise ValueError(f"{item_id} at {index}: one of them is taken")
        # In this order: who finds the index finds the id behind it.
        self.item_ids[index] = item_id
        self.index[item_id] = index
        self.named += 1

    def encode(self, ids: Sequence[str] | pd.Series[str]) -> npt.NDArray[np.int64]:
        """Item ids → indices, -1 for unknown ones."""
        index = self.index
        return np.fromiter((index.get(item, -1) for item in ids), np.int64, len(ids))
