"""What the counting sources learn from events as they come: what follows, what is near, what is popular now.

Everything is a count that halves with every half-life of event time, so it expires by itself. Bounded: a
row of `PAIRS` pairs for each item of recent events; a new pair takes the place of the row's lightest one,
and rows whose counts have faded are given to other items. Weights are kept as of `base_ms` and grow with
time, so that nothing has to be halved: a weight times `scale` is the decayed count of now.

Shapes: V items, R rows, P pairs of a row, N events, C earlier items of the session, newest first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.compiled import compiled
from model.networks.fused.newest_sessions import no_sessions
from model.networks.fused.source_arrays import Floats, Ints, LiveArrays, Longs

PAIRS = 16
HALF_LIFE_MS = 4 * 3_600_000  # of pairs; the counts of popular items have the half-life of `follow`
POPULAR = 50
FADED = 0.05  # a row whose events count for less, all together, is given away
REBASE_HALF_LIVES = 60.0  # weights have grown by so many doublings: far from the largest float32
FIRST_ROWS = 256


def no_rows(rows: int) -> tuple[Ints, Floats, Floats, Ints, Floats]:
    """Empty rows: next items, weights and totals, near items and weights."""
    return (
        np.full((rows, PAIRS), -1, np.int32),
        np.zeros((rows, PAIRS), np.float32),
        np.zeros(rows, np.float32),
        np.full((rows, PAIRS), -1, np.int32),
        np.zeros((rows, PAIRS), np.float32),
    )


STANDING = LiveArrays(
    np.zeros(0, np.int32),
    *no_rows(0),
    np.zeros(0, np.int32),
    np.zeros(0, np.float32),
    1.0,
    no_sessions(0, 1),
)


def live_data(live: LiveArrays) -> dict[str, bool]:
    """Of each source of recent events, whether it has learned anything."""
    return {
        "next items now": bool(live.next_totals_R.any()),
        "near items now": bool(live.near_weights_RP.any()),
        "popular now": len(live.popular_N) > 0,
    }


@compiled
def add_pair(items_P: Ints, weights_P: Floats, item: int, weight: float) -> None:
    """Add a weight to an item's pair, which takes the place of the lightest one if it is new."""
    lightest = 0
    for p in range(len(items_P)):
        if items_P[p] == item:
            weights_P[p] += weight
            return
        if items_P[p] < 0:
            items_P[p], weights_P[p] = item, weight
            return
        if weights_P[p] < weights_P[lightest]:
            lightest = p
    items_P[lightest], weights_P[lightest] = item, weight


@compiled
def add_events(
    row_V: Ints,
    next_items_RP: Ints,
    next_weights_RP: Floats,
    next_totals_R: Floats,
    near_items_RP: Ints,
    near_weights_RP: Floats,
    items_N: Longs,
    near_NC: Longs,
    weights_N: Floats,
) -> None:
    """Count what followed and what was near, as SourceTables does; all items have a row."""
    for n in range(len(items_N)):
        item, weight = items_N[n], weights_N[n]
        before = near_NC[n, 0]
        if before >= 0 and before != item:
            row = row_V[before]
            add_pair(next_items_RP[row], next_weights_RP[row], item, weight)
            next_totals_R[row] += weight
        for c in range(near_NC.shape[1]):
            other = near_NC[n, c]
            if other >= 0 and other != item:
                row = row_V[other]
                add_pair(near_items_RP[row], near_weights_RP[row], item, weight / (c + 1))
                row = row_V[item]
                add_pair(near_items_RP[row], near_weights_RP[row], other, 0.5 * weight / (c + 1))


class LiveTables:
    """Counts of recent events for `items` items; the caller keeps readers away while it learns.

    >>> tables = LiveTables(items=3)
    >>> tables.learn(np.array([0, 1]), np.array([[-1], [0]]), np.array([0, 1_000]), now_ms=1_000)
    >>> arrays = tables.arrays(np.array([1.0, 3.0, 0.0]), np.ones(3, bool))
    >>> arrays.next_items_RP[arrays.row_V[0]][:2].tolist(), arrays.popular_N.tolist()
    ([1, -1], [1, 0])
    """

    def __init__(self, items: int) -> None:
        self._row_V = np.full(items, -1, np.int32)
        self._rows = no_rows(FIRST_ROWS)
        self._used = 0
        self._free: list[int] = []
        self._base_ms = self._now_ms = 0
        self._has_base = False

    @property
    def scale(self) -> float:
        """What a weight is worth now."""
        return float(2.0 ** (-(self._now_ms - self._base_ms) / HALF_LIFE_MS))

    def learn(
        self,
        items_N: npt.NDArray[np.integer],
        near_NC: npt.NDArray[np.integer],
        times_ms_N: npt.NDArray[np.int64],
        now_ms: int,
    ) -> None:
        """Learn events, each with the items that its session had before it, -1 for none.

        An event later than now counts as an event of now; time does not run back.
        """
        self._advance(now_ms)
        if not len(items_N):
            return
        self._give_rows(np.unique(np.r_[items_N, near_NC.ravel()]))
        ages = (np.minimum(times_ms_N, self._now_ms) - self._base_ms) / HALF_LIFE_MS
        add_events(
            self._row_V,
            *self._rows,
            items_N.astype(np.int64),
            near_NC.astype(np.int64),
            np.exp2(ages).astype(np.float32),
        )

    def arrays(self, counts_V: npt.NDArray[np.float64], listed_V: npt.NDArray[np.bool_]) -> LiveArrays:
        """What was learned, with the items that are popular by `counts_V` among the listed ones.

        There are no sessions in it.
        """
        counts_V = np.where(listed_V, counts_V, 0.0)
        most = min(POPULAR, len(counts_V))
        best = np.argpartition(-counts_V, most - 1)[:most] if most else np.zeros(0, np.int64)
        best = best[np.lexsort((best, -counts_V[best]))]
        popular_N = best[counts_V[best] > 0].astype(np.int32)
        popular_V = np.log1p(counts_V).astype(np.float32)
        return LiveArrays(self._row_V, *self._rows, popular_N, popular_V, self.scale, STANDING.sessions)

    def _advance(self, now_ms: int) -> None:
        if not self._has_base:
            self._base_ms = self._now_ms = now_ms
            self._has_base = True
        self._now_ms = max(self._now_ms, now_ms)
        passed = (self._now_ms - self._base_ms) / HALF_LIFE_MS
        if passed > REBASE_HALF_LIVES:
            for table in (self._rows[1], self._rows[2], self._rows[4]):
                table *= np.float32(2.0**-passed)
            self._base_ms = self._now_ms

    def _give_rows(self, items: npt.NDArray[np.integer]) -> None:
        """Give each item a row; -1 is no item."""
        missing = items[(items >= 0)]
        missing = missing[self._row_V[missing] < 0]
        if len(missing) > len(self._rows[0]) - self._used + len(self._free):
            self._forget_faded(items)
        if len(missing) > len(self._rows[0]) - self._used + len(self._free):
            size = max(2 * len(self._rows[0]), self._used + len(missing))
            more = no_rows(size - len(self._rows[0]))
            old = self._rows
            self._rows = (
                np.concatenate([old[0], more[0]]),
                np.concatenate([old[1], more[1]]),
                np.concatenate([old[2], more[2]]),
                np.concatenate([old[3], more[3]]),
                np.concatenate([old[4], more[4]]),
            )
        for item in missing.tolist():
            if self._free:
                row = self._free.pop()
            else:
                row, self._used = self._used, self._used + 1
            self._row_V[item] = row

    def _forget_faded(self, needed: npt.NDArray[np.integer]) -> None:
        """Free the rows whose pairs have faded, but those of the `needed` items."""
        next_items, next_weights, totals, near_items, near_weights = self._rows
        weight_R = totals + near_weights.sum(1)
        with_row = np.flatnonzero(self._row_V >= 0)
        faded = with_row[weight_R[self._row_V[with_row]] * self.scale < FADED]
        faded = faded[~np.isin(faded, needed)]
        rows = self._row_V[faded]
        next_items[rows] = near_items[rows] = -1
        next_weights[rows] = near_weights[rows] = totals[rows] = 0
        self._row_V[faded] = -1
        self._free += rows.tolist()
