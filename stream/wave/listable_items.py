"""Which items the lists of one version may have, and in which order: the catalogue's words and rules.

What may be listed changes between two steps; a list that was made before is looked through when it is
published again.

Shapes: B sessions, N candidates, k list length, V items, C caps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from model.data.vocabulary import Vocabulary
from model.freshness.growing_vocabulary import GrowingVocabulary
from model.stepping.stepper import Stepper
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_titles import ItemTitles
from stream.catalogue.purchases import MOST_ITEMS
from stream.catalogue.rules import Cap
from stream.sessions.session_state import MOST_CHOICES
from stream.wave.arrangement import Ints, by_rules, with_pins
from stream.wave.popular_items import PopularItems, Scores

CHUNK = 4096  # of the most popular items, looked through at a time
MOST_HIDDEN = MOST_CHOICES + MOST_ITEMS  # from one session
CANDIDATES = 100  # of which a list is made where rules order it

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Orders:
    """What orders the lists of a version: each item's brand or category by cap, and its boost, by index."""

    caps: tuple[Cap, ...]
    groups_CV: Ints
    up_V: Ints | None

    @property
    def most_C(self) -> Ids:
        """How many of one group a list may have, by cap."""
        return np.array([cap.most for cap in self.caps], np.int64)


class ListableItems:
    """Follows the catalogue for a stepper and the vocabulary beside it.

    `popular` has as many items as give a full list after `most_masked` are left out. A list is made of
    `candidates` items: more than it is long where rules order it. `titles` are those that people see.
    """

    def __init__(
        self, stepper: Stepper, vocabulary: Vocabulary, catalogue: Catalogue, most_masked: int
    ) -> None:
        self._stepper, self._vocabulary, self._catalogue = stepper, vocabulary, catalogue
        self.titles = ItemTitles(catalogue.table, vocabulary.titles)
        self._most_masked = most_masked
        self._hidden_kinds = catalogue.rules.session.hidden_kinds
        self._bought_ms = catalogue.rules.session.bought_ms
        self._order = vocabulary.top(LIST_LENGTH + most_masked)
        self._unlisted_V = np.zeros(len(vocabulary), np.bool_)
        self._orders: Orders | None = None
        self._pins: list[tuple[str, int]] = []
        self._filling: list[str] = []
        self.popular = self._popular()
        if isinstance(vocabulary, GrowingVocabulary):
            vocabulary.on_added = self._item_added
        catalogue.follow(self, () if catalogue.is_empty else list(vocabulary.index))
        if not catalogue.is_empty:
            self.rules_changed()

    @property
    def candidates(self) -> int:
        """How many items a step is asked for."""
        return LIST_LENGTH if self._orders is None else CANDIDATES

    @property
    def leaves_out_seen(self) -> bool | None:
        """Whether the rules leave out what a session has seen; None: as the version was trained."""
        return self._catalogue.rules.session.seen

    @property
    def hidden_kinds(self) -> frozenset[str]:
        """The kinds of a session's events whose items it is not shown again."""
        return self._hidden_kinds

    def bought_by(self, user_id: str, time_ms: int) -> list[str]:
        """What the rules leave out of a user's lists at `time_ms`, because the user has bought it."""
        if self._bought_ms is None or not user_id:
            return []
        return self._catalogue.purchases.since(user_id, time_ms - self._bought_ms)

    def items_changed(self, item_ids: Iterable[str]) -> None:
        """Mark the items that the vocabulary has, between two steps."""
        index = self._vocabulary.index
        known = [item for item in item_ids if item in index]
        if known:
            self._mark(known)
            self._read_orders(known)
            self._read_lists()

    def rules_changed(self) -> None:
        """Mark all items anew, and read what orders them and what a session is not shown."""
        self._hidden_kinds = self._catalogue.rules.session.hidden_kinds
        self._bought_ms = self._catalogue.rules.session.bought_ms
        known = list(self._vocabulary.index)
        self._orders = self._new_orders() if self._catalogue.rules.orders else None
        self._mark(known)
        self._read_orders(known)
        self._read_lists()

    def _mark(self, item_ids: Sequence[str]) -> None:
        index = self._vocabulary.index
        places = np.array([index[item] for item in item_ids], np.int64)
        unlisted = np.array([self._catalogue.is_unlisted(item) for item in item_ids], np.bool_)
        with self._stepper.lock.writing():
            self._stepper.unlisted.mark(places, unlisted)
        trained = places < len(self._unlisted_V)
        self._unlisted_V[places[trained]] = unlisted[trained]

    def _item_added(self, index: int, item_id: str) -> None:
        """An item that the version did not know has got an index; a refresh holds the stepper's lock."""
        if self._catalogue.is_unlisted(item_id):
            self._stepper.unlisted.mark(np.array([index], np.int64), np.ones(1, np.bool_))
        self._read_orders([item_id])

    def _new_orders(self) -> Orders:
        rules, items = self._catalogue.rules, len(self._vocabulary.item_ids)
        up_V = np.zeros(items, np.int32) if rules.boost else None
        return Orders(rules.cap, np.full((len(rules.cap), items), -1, np.int32), up_V)

    def _read_orders(self, item_ids: Iterable[str]) -> None:
        orders, index, catalogue = self._orders, self._vocabulary.index, self._catalogue
        if orders is None:
            return
        for item_id in item_ids:
            place = index[item_id]
            for c, cap in enumerate(orders.caps):
                orders.groups_CV[c, place] = catalogue.group(item_id, cap)
            if orders.up_V is not None:
                orders.up_V[place] = catalogue.places_up(item_id)

    def _read_lists(self) -> None:
        """Read the pins, what fills short lists, and POP's list."""
        catalogue, now_ms = self._catalogue, self._catalogue.now_ms()
        self._pins = [
            (pin.item, pin.place)
            for pin in catalogue.rules.pin
            if now_ms < pin.until_ms and not catalogue.is_unlisted(pin.item)
        ]
        self._filling = [item for item in catalogue.rules.fallback.items if not catalogue.is_unlisted(item)]
        self.popular = self._popular()

    def _popular(self) -> PopularItems:
        vocabulary, length = self._vocabulary, self.candidates + self._most_masked
        chosen = self._order
        if self._unlisted_V.any() or len(chosen) < length:
            if len(self._order) < len(vocabulary):
                self._order = vocabulary.top(len(vocabulary))
            parts, found = [], 0
            for begin in range(0, len(self._order), CHUNK):
                part = self._order[begin : begin + CHUNK]
                parts.append(part[~self._unlisted_V[part]])
                found += len(parts[-1])
                if found >= length:
                    break
            chosen = np.concatenate(parts)
        chosen = chosen[:length]
        return PopularItems(vocabulary.decode(chosen), vocabulary.counts[chosen].astype(np.float32))

    @property
    def pinned(self) -> frozenset[str]:
        """The items that a pin puts into lists now."""
        return frozenset(item for item, _ in self._pins)

    def popular_list(self, masked: set[str]) -> tuple[list[str], Scores]:
        """POP's list for a session without the items in `masked`, after the rules: ids and scores."""
        items, scores = self.popular.list_without(masked, self.candidates)
        if len(items) < LIST_LENGTH and self._filling:
            left_out = masked.union(items)
            items = items + [item for item in dict.fromkeys(self._filling) if item not in left_out]
        elif self._orders is None and not self._pins:
            return items, scores
        return self._arranged(items, scores, masked, boosts=True)

    def obeyed(
        self,
        items: list[str],
        scores: Scores,
        masked: set[str],
        hidden: Collection[str] = (),
        *,
        is_new: bool,
    ) -> tuple[list[str], Scores]:
        """A list without the items that may not be in it, filled up with others that may, after the rules.

        `hidden` are those of `masked` that may have come into the list's session since the list was made.
        `is_new`: the list is of this step, which leaves such items out and orders the rest itself. The
        same list where nothing was said of any item. What is filled in has the score of the last item
        before it.
        """
        catalogue = self._catalogue
        if catalogue.is_empty and (is_new or not hidden):
            return items, scores
        if is_new and len(items) == LIST_LENGTH:
            return (with_pins(items, self._pins, masked), scores) if self._pins else (items, scores)
        kept = [p for p, item in enumerate(items) if item not in hidden and not catalogue.is_unlisted(item)]
        if len(kept) == len(items) == LIST_LENGTH and self._orders is None and not self._pins:
            return items, scores
        if not kept:
            return self.popular_list(masked)
        left_out = masked.union(items)
        more = list(dict.fromkeys(i for i in (*self._filling, *self.popular.ids) if i not in left_out))
        candidates = [items[place] for place in kept] + more
        values = np.full(len(candidates), scores[kept[-1]], np.float32)
        values[: len(kept)] = scores[kept]
        # Boosts have brought up what they should when the list was made.
        return self._arranged(candidates, values, masked, boosts=False)

    def _arranged(
        self, items: list[str], scores: Scores, masked: set[str], *, boosts: bool
    ) -> tuple[list[str], Scores]:
        """The list that the rules make of candidates, best first."""
        orders, catalogue = self._orders, self._catalogue
        if orders is not None:
            groups = [[catalogue.group(item, cap) for item in items] for cap in orders.caps]
            groups_C1N = np.array(groups, np.int32).reshape(len(groups), 1, len(items))
            up_1N = None
            if boosts and orders.up_V is not None:
                up_1N = np.array([[catalogue.places_up(item) for item in items]], np.int32)
            places = by_rules(np.array([len(items)]), up_1N, groups_C1N, orders.most_C)[0]
            items = [items[place] for place in places if place >= 0]
        items = with_pins(items[:LIST_LENGTH], self._pins, masked)
        last = scores[-1] if len(scores) else 0
        return items, np.append(scores, np.full(len(items), last, np.float32))[: len(items)]

    def ordered(self, ids_BN: Ids, scores_BN: npt.NDArray[np.float32]) -> tuple[Ids, Scores]:
        """The lists that boosts and caps make of a step's candidates: B×k, padded with -1 / -inf."""
        orders = self._orders
        if orders is None:
            return ids_BN[:, :LIST_LENGTH], scores_BN[:, :LIST_LENGTH]
        places_Bk = by_rules(
            (ids_BN >= 0).sum(1),
            None if orders.up_V is None else orders.up_V[ids_BN],
            orders.groups_CV[:, ids_BN],
            orders.most_C,
        )
        ids_Bk = np.take_along_axis(ids_BN, places_Bk, 1)
        ids_Bk[places_Bk < 0] = -1
        return ids_Bk, scores_BN[:, :LIST_LENGTH]
