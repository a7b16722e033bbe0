"""Session-parallel batches: one session per lane; when it ends, the next session takes the lane.

Hidasi et al., ICLR 2016, section 3.1.1 and figure 2. Every (event, next event) pair of every session
comes exactly once per pass. A batch is one step of every lane, or a block of several steps. In a block
the longest lanes come first, so that no step has padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.data.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Batch:
    """T steps of B lanes, N (event, next event) pairs in all.

    `rows`, N, index the input events in `Sessions`, step after step; each target is the event after its
    input. `sizes`, T, counts the lanes of each step and never grows, as in torch's PackedSequence.
    `sources`, B, is the previous batch's lane that each lane continues, -1 where a session begins.
    """

    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]


def session_parallel(
    sessions: Sessions, lanes: int, unroll: int = 1, order: npt.NDArray[np.int64] | None = None
) -> Iterator[Batch]:
    """Yields batches of at most `lanes` over the sessions of at least two events, in `order` if given.

    Each lane has up to `unroll` steps in a batch.

    >>> two = Sessions(np.array([0, 3, 5]), np.arange(5), np.arange(5), np.array(["s", "t"]))
    >>> [batch.rows.tolist() for batch in session_parallel(two, lanes=2)]
    [[0, 3], [1]]
    """
    long_enough = (
        np.flatnonzero(sessions.lengths >= 2) if order is None else order[sessions.lengths[order] >= 2]
    )
    begins, ends = sessions.offsets[:-1][long_enough], sessions.offsets[1:][long_enough]
    lanes = min(lanes, len(begins))
    if not lanes:
        return
    position = begins[:lanes].copy()
    end = ends[:lanes].copy()
    following = lanes
    sources = np.full(lanes, -1)
    while len(position):
        if unroll == 1:
            yield Batch(position.copy(), np.array([len(position)]), sources)
            position += 1
        else:
            steps = np.minimum(end - 1 - position, unroll)
            longest_first = np.argsort(-steps, kind="stable")
            position, end, sources, steps = (a[longest_first] for a in (position, end, sources, steps))
            has_step = np.arange(steps[0])[:, None] < steps
            rows = (position + np.arange(steps[0])[:, None])[has_step]
            yield Batch(rows, has_step.sum(1), sources)
            position += steps
        finished = np.flatnonzero(position + 1 >= end)
        sources = np.arange(len(position))
        if len(finished):
            taken = finished[: len(begins) - following]
            position[taken] = begins[following : following + len(taken)]
            end[taken] = ends[following : following + len(taken)]
            sources[taken] = -1
            following += len(taken)
            kept = np.ones(len(position), bool)
            kept[finished[len(taken) :]] = False
            position, end, sources = position[kept], end[kept], sources[kept]
