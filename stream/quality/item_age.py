"""The age of items in event time, counted from the first event that this worker saw of them.

An item that the version in service already knew at its first event is "trained" for good, since
its true age is unknown. Any other item ages from its first event, even after a later version has
learned it. Ages begin at the worker's start.
"""

from __future__ import annotations

AGES = ("trained", "<1 h", "<1 day", "<1 week", "older")
TRAINED, HOUR, DAY, WEEK, OLDER = range(5)
HOUR_MS, DAY_MS, WEEK_MS = 3_600_000, 86_400_000, 604_800_000
MOST_ITEMS = 200_000


class ItemAges:
    """First event times of items that were unknown then; beyond `most` items the oldest entry is dropped.

    >>> ages = ItemAges()
    >>> [AGES[ages.age("item", time_ms, known=False)] for time_ms in (0, 2 * HOUR_MS, 2 * DAY_MS)]
    ['<1 h', '<1 day', '<1 week']
    """

    def __init__(self, most: int = MOST_ITEMS) -> None:
        self._most = most
        self._first_ms: dict[str, int] = {}

    def age(self, item_id: str, time_ms: int, known: bool, learn: bool = True) -> int:
        """The index in AGES of an event's item; a new item is younger than an hour.

        With `learn` the event is remembered: a late one can make its item older for later events.
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
