"""Which events of a log are wanted: by kind, by category, and by brand, price, title or user.

A version's manifest records the filter that it was trained with, so that a retraining, an evaluation
and a cadence take the same events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# The columns that a condition may name, by the names of the command line.
COLUMNS = {"brand": "brand", "price": "price", "title": "title", "user": "user_id"}
NUMBERS = re.compile(r"\d+(\.\d+)?(\|\d+(\.\d+)?)*")
RANGE = re.compile(r"(\d+(?:\.\d+)?)?\.\.(\d+(?:\.\d+)?)?")
# The field of a manifest's data that holds a filter.
RECORDED_AS = "filter"


@dataclass(frozen=True)
class EventFilter:
    """Keeps events of one of the `kinds` and in one of the `categories`; an empty tuple keeps all.

    A category includes its subcategories: `electronics` includes `electronics.audio.headphone`. Of
    several categories of an event, divided by |, one is enough. Case does not matter. A session_end is
    kept: it ends a session of any kind. `conditions` are name=value, with alternatives divided by |, or
    price=10..50, a range whose ends belong to it and of which one may be open; all of them must hold.

    >>> events = pd.DataFrame({"kind": ["view", "cart"], "category": ["toys", "Toys.cars|sale"]})
    >>> EventFilter(kinds=("cart",), categories=("toys",)).left_out(events).tolist()
    ['not of kind cart', '']
    >>> EventFilter(conditions=("price=10..",)).left_out(pd.DataFrame({"price": [9.0, 10.0]})).tolist()
    ['not of price=10..', '']
    """

    kinds: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a condition that is none."""
        for text in self.conditions:
            name, _, value = text.partition("=")
            if name not in COLUMNS or not value.strip("|. "):
                raise ValueError(text)
            if name == "price" and not RANGE.fullmatch(value) and not NUMBERS.fullmatch(value):
                raise ValueError(text)

    def __bool__(self) -> bool:
        return bool(self.kinds or self.categories or self.conditions)

    def __str__(self) -> str:
        kinds = " or ".join(self.kinds)
        categories = " or ".join(self.categories)
        return ", ".join(
            part
            for part in (
                kinds and f"of kind {kinds}",
                categories and f"of category {categories}",
                *(f"of {one}" for one in self.conditions),
            )
            if part
        )

    @classmethod
    def of(cls, named: Mapping[str, Sequence[str]]) -> EventFilter:
        """The filter that `as_dict` wrote."""
        return cls(*(tuple(named.get(name, ())) for name in ("kinds", "categories", "conditions")))

    @classmethod
    def recorded(cls, data: Mapping[str, Any]) -> EventFilter | None:
        """The filter that the data of a manifest record; None where they do not record one.

        >>> EventFilter.recorded({"filter": {"kinds": ["purchase"]}})
        EventFilter(kinds=('purchase',), categories=(), conditions=())
        >>> EventFilter.recorded({"events": 12}) is None
        True
        """
        named = data.get(RECORDED_AS)
        return cls.of(named) if isinstance(named, Mapping) else None

    def as_dict(self) -> dict[str, list[str]]:
        """The filter as plain values; empty when it keeps all events."""
        named = {
            "kinds": list(self.kinds),
            "categories": list(self.categories),
            "conditions": list(self.conditions),
        }
        return {name: values for name, values in named.items() if values}

    def left_out(self, events: pd.DataFrame) -> pd.Series[str]:
        """Why each row of an event frame is left out; "" for a row that is kept."""
        result = pd.Series("", events.index, dtype="str")
        is_end = (events["kind"] == "session_end").to_numpy(bool) if "kind" in events else False
        for condition in self.conditions:
            result[~(_holds(condition, events) | is_end)] = f"not of {condition}"
        if self.categories:
            inside = self._inside(events["category"]) if "category" in events else np.zeros(len(events), bool)
            result[~(inside | is_end)] = f"not of category {' or '.join(self.categories)}"
        if self.kinds:
            kinds = events["kind"] if "kind" in events else pd.Series("view", events.index)
            is_wanted = kinds.isin(self.kinds).to_numpy(bool)
            result[~(is_wanted | is_end)] = f"not of kind {' or '.join(self.kinds)}"
        return result

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


def _holds(condition: str, events: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Of which events a condition is true; of none that lacks the value."""
    name, _, wanted = condition.partition("=")
    if COLUMNS[name] not in events:
        return np.zeros(len(events), bool)
    column = events[COLUMNS[name]]
    if name == "price":
        numbers = column.astype("float64")
        if (ends := RANGE.fullmatch(wanted)) is None:
            return np.asarray(numbers.isin([float(text) for text in wanted.split("|")]), bool)
        least, most = (float(end) if end else None for end in ends.groups())
        above = numbers.notna() if least is None else numbers >= least
        return np.asarray(above if most is None else above & (numbers <= most), bool)
    texts = {text.strip().casefold() for text in wanted.split("|")}
    codes, values = pd.factorize(column)
    found = np.array([*(str(value).strip().casefold() in texts for value in values), False])
    return np.asarray(found[codes], bool)


ALL_EVENTS = EventFilter()
