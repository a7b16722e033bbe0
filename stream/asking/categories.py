"""The items of a category, or of the whole catalogue, of the version in service: the popular ones first.

An item lies where the shop's word says, or where the training log did as long as there is no such word.
What is found is kept for KEPT_S: an item that moves to another category is seen there that much later.
Whether an item may be listed is asked later, for each list.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_table import NONE
from stream.catalogue.rules import is_within
from stream.wave.popular_items import PopularItems
from stream.wave.serving_model import ServingModel

KEPT_S = 1.0
MOST_KEPT = 256
# Enough for a list of 100 after 200 items to leave out and a session's own.
POPULAR = 1_500

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Category:
    """`ids` of its items; `places_C` of those that the version knows; its popular items."""

    ids: frozenset[str]
    places_C: Ids
    popular: PopularItems


class Categories:
    """Finds the items of categories. Used by one thread.

    >>> Categories(Catalogue())
    Categories(kept=0)
    """

    def __init__(self, catalogue: Catalogue, now_s: Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._now_s = now_s
        self._kept: OrderedDict[tuple[str, str | None], tuple[float, int, Category]] = OrderedDict()
        self._of_log: dict[str, _LogCategories] = {}

    def __repr__(self) -> str:
        return f"Categories(kept={len(self._kept)})"

    def get(self, serving: ServingModel, category: str | None) -> Category | None:
        """A category, the whole catalogue for None; None where no item is known to be in it."""
        key, size = (serving.version, category), len(serving.vocabulary.index)
        kept = self._kept.get(key)
        if kept is None or kept[1] != size or self._now_s() - kept[0] > KEPT_S:
            found = self._find(serving, category)
            kept = self._kept[key] = (self._now_s(), size, found)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept[2] if category is None or kept[2].ids else None

    def _find(self, serving: ServingModel, category: str | None) -> Category:
        vocabulary = serving.vocabulary
        if category is None:
            # Copied first: a refresh may add items meanwhile.
            places_C = np.array(list(vocabulary.index.values()), np.int64)
            ids = frozenset[str]()
        else:
            ids = frozenset(self._ids_in(serving, category))
            index = vocabulary.index
            places_C = np.array([index[item] for item in ids if item in index], np.int64)
        counts_C = np.zeros(len(places_C), np.int64)
        counted = places_C < len(vocabulary.counts)
        counts_C[counted] = vocabulary.counts[places_C[counted]]
        # By place, where counts are equal: the order does not depend on that of a set.
        best = np.lexsort((places_C, -counts_C))
        places_C, counts_C = places_C[best], counts_C[best]
        listed = [
            n
            for n, item in enumerate(vocabulary.item_ids[places_C[: 4 * POPULAR]].tolist())
            if not self._catalogue.is_unlisted(item)
        ][:POPULAR]
        names = vocabulary.item_ids[places_C[listed]].tolist()
        return Category(ids, places_C, PopularItems(names, counts_C[listed].astype(np.float32)))

    def _ids_in(self, serving: ServingModel, category: str) -> set[str]:
        table = self._catalogue.table
        within = [n for n, name in enumerate(list(table.categories.names)) if is_within(name, category)]
        ids = set(table.ids_in(within))
        for item in self._log_categories(serving).within(category):
            row = table.rows.get(item)
            if row is None or table.category_R[row] == NONE:
                ids.add(item)
        return ids

    def _log_categories(self, serving: ServingModel) -> _LogCategories:
        found = self._of_log.get(serving.version)
        if found is None:
            # Two versions serve during an experiment.
            while len(self._of_log) > 1:
                del self._of_log[next(iter(self._of_log))]
            found = _LogCategories(serving.vocabulary.attributes.get("category", {}))
            self._of_log[serving.version] = found
        return found


@dataclass(frozen=True)
class _LogCategories:
    """Each item's category in the training log."""

    categories: dict[str, object]

    @cached_property
    def items(self) -> dict[str, list[str]]:
        """The items by category."""
        items: dict[str, list[str]] = {}
        for item, category in self.categories.items():
            items.setdefault(str(category), []).append(item)
        return items

    def within(self, category: str) -> list[str]:
        """The items of a category and of those below it."""
        return [item for name, items in self.items.items() if is_within(name, category) for item in items]
