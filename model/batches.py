"""Session-parallel batches: one session per lane, the next one takes a finished lane.

Hidasi et al., ICLR 2016, section 3.1.1 and figure 2. Every (event, next event) pair of
every session comes exactly once per pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of B lanes.

    `rows` index the events of `Sessions` that are the input, `targets` follow them;
    `kept` are the previous batch's lanes that go on (lanes shrink when sessions run out),
    `resets` marks, among the lanes of this batch, those that begin a session.
    """

    rows: npt.NDArray[np.int64]
    kept: npt.NDArray[np.bool_]
    resets: npt.NDArray[np.bool_]


def session_parallel(sessions: Sessions, lanes: int) -> Iterator[Batch]:
    """Batches of at most `lanes` over sessions of at least two events, in their order."""
    long_enough = np.flatnonzero(sessions.lengths >= 2)
    begins, ends = sessions.offsets[:-1][long_enough], sessions.offsets[1:][long_enough]
    lanes = min(lanes, len(begins))
    if not lanes:
        return
    position = begins[:lanes].copy()
    end = ends[:lanes].copy()
    following = lanes
    kept = np.ones(lanes, bool)
    resets = np.ones(lanes, bool)
    while len(position):
        yield Batch(position.copy(), kept, resets)
        position += 1
        finished = np.flatnonzero(position + 1 >= end)
        kept = np.ones(len(position), bool)
        resets = np.zeros(len(position), bool)
        if len(finished):
            taken = finished[: len(begins) - following]
            position[taken] = begins[following : following + len(taken)]
            end[taken] = ends[following : following + len(taken)]
            resets[taken] = True
            following += len(taken)
            kept[finished[len(taken) :]] = False
            position, end, resets = position[kept], end[kept], resets[kept]
