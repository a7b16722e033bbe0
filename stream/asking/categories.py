"""The items of a category, or of the whole catalogue, of the version in service: the popular ones first.

An item lies where the shop's word says, or where the training log did as long as there is no such word.
What is found is kept until something is said of an item, and then for KEPT_S at most: an item that moves to
another category is seen there that much later. The order of the whole catalogue is made once for a version,
and again when it learns new items. Whether an item may be listed is asked later, for each list.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

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
        self._kept: OrderedDict[tuple[str, str | None], _Kept] = OrderedDict()
        self._orders: dict[str, Ids] = {}
        self._of_log: dict[str, _LogCategories] = {}

    def __repr__(self) -> str:
        return f"Categories(kept={len(self._kept)})"

    def get(self, serving: ServingModel, category: str | None) -> Category | None:
        """A category, the whole catalogue for None; None where no item is known to be in it."""
        key, size = (serving.version, category), len(serving.vocabulary.index)
        kept = self._kept.get(key)
        if kept is None or kept.size != size or self._is_old(kept):
            changes = self._catalogue.changes
            kept = self._kept[key] = _Kept(self._now_s(), size, changes, self._find(serving, category))
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept.category if category is None or kept.category.ids else None

    def _is_old(self, kept: _Kept) -> bool:
        return kept.changes != self._catalogue.changes and self._now_s() - kept.found_s > KEPT_S

    def _find(self, serving: ServingModel, category: str | None) -> Category:
        ids = frozenset[str]()
        if category is None:
            places_C = self._order_of(serving)
        else:
            ids = frozenset(self._ids_in(serving, category))
            index = serving.vocabulary.index
            places_C = _best_first(
                np.array([index[item] for item in ids if item in index], np.int64), serving
            )
        return Category(ids, places_C, self._popular(places_C, serving))

    def _order_of(self, serving: ServingModel) -> Ids:
        """All items of a version, the popular ones first."""
        order, size = self._orders.get(serving.version), len(serving.vocabulary.index)
        if order is None or len(order) != size:
            # Two versions serve during an experiment.
            while len(self._orders) > 1:
                del self._orders[next(iter(self._orders))]
            # Copied first: a refresh may add items meanwhile.
            places_V = np.array(list(serving.vocabulary.index.values()), np.int64)
            order = self._orders[serving.version] = _best_first(places_V, serving)
        return order

    def _popular(self, places_C: Ids, serving: ServingModel) -> PopularItems:
        """The first POPULAR of these items that a list may have, looked through a part at a time."""
        names: list[str] = []
        chosen: list[int] = []
        for begin in range(0, len(places_C), POPULAR):
            part = places_C[begin : begin + POPULAR]
            for place, item in zip(part.tolist(), serving.vocabulary.item_ids[part].tolist(), strict=True):
                if not self._catalogue.is_unlisted(item):
                    names.append(item)
                    chosen.append(place)
            if len(names) >= POPULAR:
                break
        names, chosen_P = names[:POPULAR], np.array(chosen[:POPULAR], np.int64)
        return PopularItems(names, _counts_of(chosen_P, serving).astype(np.float32))

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


class _Kept(NamedTuple):
    """A category as it was found, with `size` items known, after so many changes of the catalogue."""

    found_s: float
    size: int
    changes: int
    category: Category


def _counts_of(places_C: Ids, serving: ServingModel) -> Ids:
    """Events of items in the training; 0 of one that came later."""
    counts_V = serving.vocabulary.counts
    counts_C = np.zeros(len(places_C), np.int64)
    counted = places_C < len(counts_V)
    counts_C[counted] = counts_V[places_C[counted]]
    return counts_C


def _best_first(places_C: Ids, serving: ServingModel) -> Ids:
    # By place, where counts are equal: the order does not depend on that of a set.
    return places_C[np.lexsort((places_C, -_counts_of(places_C, serving)))]


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
