"""Counts of items that grow and shrink, and an item's place among the others by its count.

The one counting core of POP over a moving window: the window itself, and what a tie means, are the
caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class ItemCounts(Generic[Item]):
    """How often each item was added and not removed; `place` takes no sort and no pass over the items.

    >>> counts = ItemCounts[str]()
    >>> for item in ("a", "a", "b", "c"):
    ...     counts.add(item)
    >>> counts.place("c")
    (1, 2)
    """

    def __init__(self) -> None:
        self._counts: dict[Item, int] = {}
        # How many items have at least this count; place 0 only makes the others count from 1.
        self._at_least = [0]

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def largest(self) -> int:
        """The largest count; 0 without items."""
        return len(self._at_least) - 1

    def add(self, item: Item) -> None:
        """Count an event of the item."""
        count = self._counts[item] = self._counts.get(item, 0) + 1
        if count == len(self._at_least):
            self._at_least.append(1)
        else:
            self._at_least[count] += 1

    def remove(self, item: Item, times: int = 1) -> None:
        """Take back `times` events of the item, which were added."""
        before = self._counts[item]
        for count in range(before - times + 1, before + 1):
            self._at_least[count] -= 1
        if before == times:
            del self._counts[item]
        else:
            self._counts[item] = before - times
        while len(self._at_least) > 1 and not self._at_least[-1]:
            self._at_least.pop()

    def place(self, item: Item, hidden: Collection[Item] = ()) -> tuple[int, int]:
        """How many items have a larger count, and how many have the same one, `item` included.

        Items of `hidden` are left out. (0, 0) for an item that has no count or is hidden.
        """
        count = self._counts.get(item)
        if count is None or item in hidden:
            return 0, 0
        at_least = self._at_least
        larger = at_least[count + 1] if count + 1 < len(at_least) else 0
        equal = at_least[count] - larger
        for other in set(hidden):
            others = self._counts.get(other, 0)
            larger -= others > count
            equal -= others == count
        return larger, equal
