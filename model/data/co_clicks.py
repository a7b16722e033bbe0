"""Co-clicks: pairs of items that sessions clicked near each other.

They place items that a model was not trained on: a new item's vector is the mean of the vectors of
the known items that the same sessions clicked near it. Knows no network and no clock.

Shapes: N co-clicks, V items, M new items, E columns of a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.data.sessions import Sessions

NEAR = 5


@dataclass(frozen=True)
class CoClicks:
    """Two items of one session, at most `NEAR` clicks apart, in the order of the later click.

    Each pair stands twice, once from either item; `times_ms` is the time of the later click.

    >>> session = Sessions(np.array([0, 2]), np.array([7, 3]), np.array([0, 50]), np.array(["s"]))
    >>> pairs = CoClicks.of(session)
    >>> pairs.items.tolist(), pairs.neighbours.tolist(), pairs.times_ms.tolist()
    ([3, 7], [7, 3], [50, 50])
    """

    items: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions, near: int = NEAR) -> CoClicks:
        """Returns all pairs of different known items in these sessions."""
        begins = np.repeat(sessions.offsets[:-1], sessions.lengths)
        rows = np.arange(len(sessions.items))
        later, earlier = [rows[:0]], [rows[:0]]
        for distance in range(1, near + 1):
            row = rows[rows - distance >= begins]
            later.append(row)
            earlier.append(row - distance)
        late, early = np.concatenate(later), np.concatenate(earlier)
        items, times_ms = sessions.items.astype(np.int64), sessions.times_ms
        kept = (items[late] != items[early]) & (items[late] >= 0) & (items[early] >= 0)
        late, early = late[kept], early[kept]
        at_ms = np.maximum(times_ms[late], times_ms[early])
        order = np.argsort(at_ms, kind="stable")
        late, early = late[order], early[order]
        return cls(
            np.stack([items[late], items[early]], 1).ravel(),
            np.stack([items[early], items[late]], 1).ravel(),
            np.repeat(at_ms[order], 2),
        )
