"""The list that the rules make of candidates: the order in which a wave goes about it, for any length.

1. leave out what no list may have      2. boosts, then caps      3. fill up a list that is too short
4. pins

With the rules, the popular items and the length of a published list it makes the published list.
Tested by tests/unit/stream/asking/test_answers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.rules import Rules, Without
from stream.wave.arrangement import by_rules, with_pins
from stream.wave.listable_items import CANDIDATES
from stream.wave.popular_items import PopularItems

Scores = npt.NDArray[np.float32]


NOTHING = Without()


@dataclass(frozen=True)
class ListScope:
    """What a list is made under: its rules and length, popular items, and the only items it may have.

    `only` is None where it may have all; `without` names others that it may not have. Where it does not
    fill up, few candidates make a short list.
    """

    catalogue: Catalogue
    rules: Rules
    length: int
    popular: PopularItems
    only: frozenset[str] | None = None
    fills: bool = True
    without: Without = NOTHING

    @property
    def candidates(self) -> int:
        """How many candidates a list is made of: more than it is long where rules order it."""
        chosen = self.rules.orders or not self.without.is_empty
        return max(self.length, CANDIDATES if chosen else LIST_LENGTH)

    def may_list(self, item_id: str) -> bool:
        """Whether the list may have an item."""
        if self.catalogue.is_unlisted(item_id) or (self.only is not None and item_id not in self.only):
            return False
        return self.without.is_empty or not self.catalogue.is_against(item_id, self.without)

    def pins(self) -> list[tuple[str, int]]:
        """The items pinned now, and their places."""
        now_ms = self.catalogue.now_ms()
        return [
            (pin.item, pin.place)
            for pin in self.rules.pin
            if now_ms < pin.until_ms and self.may_list(pin.item)
        ]

    def filling(self, left_out: set[str]) -> list[str]:
        """The items that fill a list before popular ones do."""
        return [
            item
            for item in dict.fromkeys(self.rules.fallback.items)
            if item not in left_out and self.may_list(item)
        ]


def arranged(
    scope: ListScope, items: Sequence[str], scores: Scores, masked: set[str]
) -> tuple[list[str], Scores]:
    """The list of candidates, best first, and its scores; a list of popular items where there are none.

    Scores fall along the list; what fills it up has that of the last candidate.

    >>> popular = PopularItems(["a", "b", "c"], np.array([3, 2, 1], np.float32))
    >>> scope = ListScope(Catalogue(), Rules(), 3, popular)
    >>> arranged(scope, ["c"], np.array([0.5], np.float32), masked={"b"})[0]
    ['c', 'a']
    """
    kept = [place for place, item in enumerate(items) if scope.may_list(item)]
    candidates, values = [items[place] for place in kept], scores[kept]
    if candidates:
        listed = _ordered(scope, candidates, boosts=True)
        values = values[: len(listed)]
        if len(listed) < scope.length and scope.fills:
            left_out = masked.union(listed)
            popular = [i for i in scope.popular.ids if i not in left_out and scope.may_list(i)]
            more = list(dict.fromkeys([*scope.filling(left_out), *popular]))
            # Boosts have brought up what they should.
            listed = _ordered(scope, listed + more, boosts=False)
    else:
        left_out = masked
        if not scope.without.is_empty:
            # Before the best are cut, or those that are named would leave a short list.
            left_out = masked.union(item for item in scope.popular.ids if not scope.may_list(item))
        candidates, values = scope.popular.list_without(left_out, scope.candidates)
        kept = [place for place, item in enumerate(candidates) if scope.may_list(item)]
        candidates, values = [candidates[place] for place in kept], values[kept]
        if len(candidates) < scope.length:
            candidates = candidates + scope.filling(masked.union(candidates))
        listed = _ordered(scope, candidates, boosts=True)
    listed = with_pins(listed, scope.pins(), masked, scope.length)
    last = values[-1] if len(values) else 0
    filled = np.append(values, np.full(len(listed), last, np.float32))
    return listed, filled[: len(listed)].astype(np.float32)


def _ordered(scope: ListScope, items: list[str], *, boosts: bool) -> list[str]:
    """The best of the candidates within the caps, after boosts where they are wanted."""
    rules, catalogue = scope.rules, scope.catalogue
    if not rules.orders:
        return items[: scope.length]
    groups = [[catalogue.group(item, cap) for item in items] for cap in rules.cap]
    groups_C1N = np.array(groups, np.int32).reshape(len(groups), 1, len(items))
    up_1N = None
    if boosts and rules.boost:
        up_1N = np.array([[catalogue.places_up(item, rules.boost) for item in items]], np.int32)
    most_C = np.array([cap.most for cap in rules.cap], np.int64)
    places = by_rules(np.array([len(items)]), up_1N, groups_C1N, most_C, scope.length)[0]
    return [items[place] for place in places if place >= 0]
