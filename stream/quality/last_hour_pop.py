"""POP of the last hour of event time, as a prediction of the event that comes.

Items of equal count could stand in any order, so an item counts with the hits and the 1/rank
that it has on average over all orders: McSherry, Najork, Computing information retrieval
performance measures efficiently in the presence of tied scores, ECIR 2008. The caller decides who
predicts and who learns, and in which order.
"""

from __future__ import annotations

from itertools import accumulate

from model.config import LIST_LENGTH
from model.networks.baselines.item_counts import ItemCounts
from stream.quality.cells import UNIT

WINDOW_MS = 3_600_000
BUCKETS = 12
_HARMONIC = (0, *accumulate(UNIT // rank for rank in range(1, LIST_LENGTH + 1)))


class WindowPopularity:
    """Counts of items in buckets of event time: the current bucket and those before it, an hour in all."""

    def __init__(self, window_ms: int = WINDOW_MS, buckets: int = BUCKETS) -> None:
        self._bucket_ms = window_ms // buckets
        self._kept = buckets
        self._newest = 0
        self._buckets: dict[int, dict[str, int]] = {}
        self.counts = ItemCounts[str]()

    def expected(self, item_id: str, masked: tuple[str, ...] = ()) -> tuple[int, int]:
        """Hit and 1/rank of the item in the top-20, in units of 1/UNIT, over all orders of equals.

        `masked` items are left out of the list.
        """
        above, tied = self.counts.place(item_id, masked)
        if not tied or above >= LIST_LENGTH:
            return 0, 0
        last = min(LIST_LENGTH, above + tied)
        return UNIT * (last - above) // tied, (_HARMONIC[last] - _HARMONIC[above]) // tied

    def count(self, item_id: str, time_ms: int) -> None:
        """Learn from an event, unless it lies before the window or after its end."""
        number = time_ms // self._bucket_ms
        if not self._newest - self._kept < number <= self._newest:
            return
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
        bucket[item_id] = bucket.get(item_id, 0) + 1
        self.counts.add(item_id)

    def advance(self, now_ms: int) -> None:
        """Let the window end with the bucket of `now_ms`; what lies before it is forgotten."""
        self._newest = max(self._newest, now_ms // self._bucket_ms)
        for number in [number for number in self._buckets if number <= self._newest - self._kept]:
            for item_id, gone in self._buckets.pop(number).items():
                self.counts.remove(item_id, gone)
