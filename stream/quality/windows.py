"""The sums of scored events over a window: the newest n, faded ones, and buckets of event time.

Each takes the same batches of cells and values in the order of the events. Shapes as in
stream.quality.cells. Tested by tests/unit/stream/quality/test_prequential.py.
"""

from __future__ import annotations

import numpy as np

from stream.quality.cells import COLUMNS, GROUPS, KINDS, SLOTS, UNSHOWN, Numbers, Whole, summed

BUCKET_MS = 300_000
DAY_BUCKETS = 288
# A day, and an hour more for a request whose day ended a little earlier.
KEPT_BUCKETS = DAY_BUCKETS + 12


def no_sums() -> Whole:
    """Zeros, S×G×C."""
    return np.zeros((SLOTS, GROUPS, len(COLUMNS)), np.int64)


class NewestEvents:
    """Over exactly the newest `size` events; a batch holds no more than that."""

    def __init__(self, size: int) -> None:
        self.sums = no_sums()
        self._cells = np.full((size, len(KINDS)), UNSHOWN * GROUPS, np.int64)
        self._values = np.zeros((size, len(COLUMNS)))
        self._place = 0

    def add(self, cells_NK: Whole, values_NC: Numbers, sums: Whole) -> None:
        """Add a batch and its `sums`, and subtract the events that are no longer among the newest."""
        places = (self._place + np.arange(len(cells_NK))) % len(self._cells)
        self.sums += sums - summed(self._cells[places], self._values[places]).astype(np.int64)
        self._cells[places], self._values[places] = cells_NK, values_NC
        self._place = (self._place + len(cells_NK)) % len(self._cells)

    def clear(self, slot: int) -> None:
        """Set a slice to zero."""
        self.sums[slot] = 0
        self._cells[self._cells // GROUPS == slot] = UNSHOWN * GROUPS


class FadedEvents:
    """Over all events, each `fading` times lighter with every later one of its slice.

    S_i = e_i + α S_(i-1), for hits as for events: Gama, Sebastião, Rodrigues, On evaluating stream
    learning algorithms, Machine Learning 90, 2013. It weighs like the newest 1/(1-α) events.
    """

    def __init__(self, fading: float) -> None:
        self.sums = no_sums().astype(np.float64)
        self._fading = fading

    def add(self, cells_NK: Whole, values_NC: Numbers) -> None:
        """Add a batch, the newest event last."""
        weights = np.empty(cells_NK.shape)
        for kind, slots in enumerate((cells_NK // GROUPS).T):
            for slot in np.unique(slots):
                of_slot = np.flatnonzero(slots == slot)
                weights[of_slot, kind] = self._fading ** np.arange(len(of_slot) - 1, -1, -1)
                self.sums[slot] *= self._fading ** len(of_slot)
        self.sums += summed(cells_NK, values_NC, weights)

    def clear(self, slot: int) -> None:
        """Set a slice to zero."""
        self.sums[slot] = 0


class TimeBuckets:
    """Buckets of five minutes of event time; keeps a day and an hour."""

    def __init__(self) -> None:
        self.buckets: dict[int, Whole] = {}

    def add(self, numbers_N: Whole, cells_NK: Whole, values_NC: Numbers) -> None:
        """Add each event of a batch to the bucket of its number; a negative number has no bucket."""
        for number in np.unique(numbers_N[numbers_N >= 0]).tolist():
            of_bucket = numbers_N == number
            bucket = self.buckets.setdefault(number, no_sums())
            bucket += summed(cells_NK[of_bucket], values_NC[of_bucket]).astype(np.int64)

    def forget_before(self, number: int) -> None:
        """Drop the buckets below `number`."""
        for old in [kept for kept in self.buckets if kept < number]:
            del self.buckets[old]

    def window(self, end: int, count: int) -> Whole:
        """The sums of the `count` buckets below `end`."""
        sums = no_sums()
        for number, bucket in self.buckets.items():
            if end - count <= number < end:
                sums += bucket
        return sums

    def clear(self, slot: int) -> None:
        """Set a slice to zero."""
        for bucket in self.buckets.values():
            bucket[slot] = 0
