"""How old items are, by event time: since the worker first saw them while no model version knew them.

An item that the version in service knew when it was first seen was there at that version's
training; its true age is not known, and it is "trained" for good. Any other item's age goes on
from its first event, also when a later version knows it. Reckoned from the worker's start.
"""

from __future__ import annotations

AGES = ("trained", "<1 h", "<1 day", "<1 week", "older")
TRAINED, HOUR, DAY, WEEK, OLDER = range(5)
HOUR_MS, DAY_MS, WEEK_MS = 3_600_000, 86_400_000, 604_800_000
MOST_ITEMS = 200_000


class ItemAges:
    """First event times of items that were unknown then; beyond `most`, the first to come leave first."""

    def __init__(self, most: int = MOST_ITEMS) -> None:
        self._most = most
        self._first_ms: dict[str, int] = {}

    def age(self, item_id: str, time_ms: int, known: bool, learn: bool = True) -> int:
        """The place in AGES of an event's item; a new one is younger than an hour.

        Unless it is not to `learn`, it takes notice of the event; one that comes late can make its
        item older for those to come.
        """
        first_ms = self._first_ms.get(item_id)
        if first_ms is None:
            if known:
                return TRAINED
            if learn:
                if len(self._first_ms) >= self._most:
                    del self._first_ms[next(iter(self._first_ms))]
                self._first_ms[item_id] = time_ms
            return HOUR
        age_ms = time_ms - first_ms
        if age_ms < HOUR_MS:
            if age_ms < 0 and learn:
                self._first_ms[item_id] = time_ms
            return HOUR
        if age_ms < DAY_MS:
            return DAY
        return WEEK if age_ms < WEEK_MS else OLDER
