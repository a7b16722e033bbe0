"""Which items of one version may be listed: its stepper and POP's list obey the catalogue.

A change takes hold between two steps; a list that was made before is looked through when it is
published again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from model.config import LIST_LENGTH
from model.data.vocabulary import Vocabulary
from model.freshness.growing_vocabulary import GrowingVocabulary
from model.stepping.stepper import Stepper
from stream.catalogue.catalogue import Catalogue
from stream.wave.popular_items import PopularItems, Scores

CHUNK = 4096  # of the most popular items, looked through at a time


class ListableItems:
    """Follows the catalogue for a stepper and the vocabulary beside it.

    `popular` has as many items as give a full list after `most_masked` are left out.
    """

    def __init__(
        self, stepper: Stepper, vocabulary: Vocabulary, catalogue: Catalogue, most_masked: int
    ) -> None:
        self._stepper, self._vocabulary, self._catalogue = stepper, vocabulary, catalogue
        self._length = LIST_LENGTH + most_masked
        self._order = vocabulary.top(self._length)
        self._is_whole_order = False
        self._unlisted_V = np.zeros(len(vocabulary), np.bool_)
        self.popular = self._popular()
        if isinstance(vocabulary, GrowingVocabulary):
            vocabulary.on_added = self._item_added
        catalogue.follow(self, (item for item in list(vocabulary.index)))

    def items_changed(self, item_ids: Iterable[str]) -> None:
        """Mark the items that the vocabulary has, between two steps."""
        index = self._vocabulary.index
        known = [item for item in item_ids if item in index]
        if not known:
            return
        places = np.array([index[item] for item in known], np.int64)
        with self._stepper.lock.writing():
            unlisted = np.array([self._catalogue.is_unlisted(item) for item in known], np.bool_)
            self._stepper.unlisted.mark(places, unlisted)
        trained = places < len(self._unlisted_V)
        self._unlisted_V[places[trained]] = unlisted[trained]
        self.popular = self._popular()

    def _item_added(self, index: int, item_id: str) -> None:
        """An item that the version did not know has got an index; a refresh holds the stepper's lock."""
        if self._catalogue.is_unlisted(item_id):
            self._stepper.unlisted.mark(np.array([index], np.int64), np.ones(1, np.bool_))

    def _popular(self) -> PopularItems:
        vocabulary, chosen = self._vocabulary, self._order
        if self._unlisted_V.any():
            if not self._is_whole_order:
                self._order, self._is_whole_order = vocabulary.top(len(vocabulary)), True
            parts, found = [], 0
            for begin in range(0, len(self._order), CHUNK):
                part = self._order[begin : begin + CHUNK]
                parts.append(part[~self._unlisted_V[part]])
                found += len(parts[-1])
                if found >= self._length:
                    break
            chosen = np.concatenate(parts)
        chosen = chosen[: self._length]
        return PopularItems(vocabulary.decode(chosen), vocabulary.counts[chosen].astype(np.float32))

    def obeyed(
        self, items: list[str], scores: Scores, masked: set[str], *, is_new: bool
    ) -> tuple[list[str], Scores]:
        """A list without the items that may not be in it, filled up with popular ones that may.

        `is_new`: the list is of this step, which leaves such items out itself. The same list where
        nothing was said of any item. What is filled in has the score of the last item before it.
        """
        catalogue = self._catalogue
        if catalogue.is_empty or (is_new and len(items) == LIST_LENGTH):
            return items, scores
        kept = [place for place, item in enumerate(items) if not catalogue.is_unlisted(item)]
        if len(kept) == len(items) == LIST_LENGTH or not kept:
            return (items, scores) if kept else self.popular.list_without(masked)
        listed = [items[place] for place in kept]
        left_out = masked.union(items)
        more = [item for item in self.popular.ids if item not in left_out][: LIST_LENGTH - len(kept)]
        values = np.concatenate([scores[kept], np.full(len(more), scores[kept[-1]], np.float32)])
        return listed + more, values
