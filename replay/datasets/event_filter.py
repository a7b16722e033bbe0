"""Which events of a log are wanted: by kind and by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.reading.format import reasons


@dataclass(frozen=True)
class EventFilter:
    """Keeps events of one of the `kinds` and in one of the `categories`; an empty tuple keeps all.

    A category includes its subcategories: `electronics` includes `electronics.audio.headphone`. Of
    several categories of an event, divided by |, one is enough. Case does not matter.

    >>> events = pd.DataFrame({"kind": ["view", "cart"], "category": ["toys", "Toys.cars|sale"]})
    >>> EventFilter(kinds=("cart",), categories=("toys",)).left_out(events).tolist()
    ['not of kind cart', '']
    """

    kinds: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.kinds or self.categories)

    def __str__(self) -> str:
        kinds = " or ".join(self.kinds)
        categories = " or ".join(self.categories)
        return ", ".join(
            part
            for part in (kinds and f"of kind {kinds}", categories and f"of category {categories}")
            if part
        )

    @classmethod
    def of(cls, named: Mapping[str, Sequence[str]]) -> EventFilter:
        """The filter that `as_dict` wrote."""
        return cls(tuple(named.get("kinds", ())), tuple(named.get("categories", ())))

    def as_dict(self) -> dict[str, list[str]]:
        """The filter as plain values; empty when it keeps all events."""
        named = {"kinds": list(self.kinds), "categories": list(self.categories)}
        return {name: values for name, values in named.items() if values}

    def left_out(self, events: pd.DataFrame) -> pd.Series[str]:
        """Why each row of an event frame is left out; "" for a row that is kept."""
        checks = []
        if self.kinds:
            checks.append((~events["kind"].isin(self.kinds), f"not of kind {' or '.join(self.kinds)}"))
        if self.categories:
            inside = self._inside(events["category"]) if "category" in events else False
            outside = ~pd.Series(inside, index=events.index, dtype=bool)
            checks.append((outside, f"not of category {' or '.join(self.categories)}"))
        return reasons(events.index, *checks)

    def _inside(self, column: pd.Series[str]) -> npt.NDArray[np.bool_]:
        # A log has few distinct categories: match each once.
        codes, names = pd.factorize(column)
        wanted = [category.casefold() for category in self.categories]
        inside = [
            any(
                one == category or one.startswith(f"{category}.")
                for one in str(name).casefold().split("|")
                for category in wanted
            )
            for name in names
        ]
        # Missing categories have the code -1.
        found = np.array([*inside, False])
        return np.asarray(found[codes], bool)


ALL_EVENTS = EventFilter()
