"""POP's list of one version: its most popular items that may be listed.

Tested by tests/unit/stream/wave/test_listable_items.py and test_processor.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH

Scores = npt.NDArray[np.float32]


class PopularItems:
    """`ids`, the most popular first, and their training counts: enough for a list without a session's items.

    >>> popular = PopularItems(["a", "b", "c"], np.array([5, 3, 1], np.float32))
    >>> popular.list_without({"b"})[0], popular.rank_without("c", {"b"}), popular.rank_without("b", {"b"})
    (['a', 'c'], 2, None)
    """

    def __init__(self, ids: Sequence[str], scores: Scores) -> None:
        self.ids, self._scores = list(ids), scores
        self._ranks = {item: place for place, item in enumerate(self.ids)}

    def list_without(self, masked: set[str], k: int = LIST_LENGTH) -> tuple[list[str], Scores]:
        """The top-k without the items in `masked`: ids and scores."""
        places = [i for i, item in enumerate(self.ids) if item not in masked][:k]
        return [self.ids[i] for i in places], self._scores[places]

    def rank_without(self, item_id: str, masked: set[str]) -> int | None:
        """The item's rank, from 1, in `list_without`; None when it is not in it."""
        ranks = self._ranks
        place = ranks.get(item_id)
        if place is None or item_id in masked:
            return None
        place -= sum(ranks.get(item, place) < place for item in masked)
        return place + 1 if place < LIST_LENGTH else None
