"""Items that a model was not trained on, placed by what they are clicked with.

An item that nobody knew at the last training stands where its neighbours stand: its
vector is the mean of the vectors of the known items that the same sessions clicked near
it. Knows no network and no clock.

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

    Each pair stands twice, once from either item; `times_ms` is when the later one was clicked.
    """

    items: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions, near: int = NEAR) -> CoClicks:
        """All pairs of different known items of these sessions."""
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
