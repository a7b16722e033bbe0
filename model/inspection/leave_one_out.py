"""Which earlier event caused an item to be listed: the list stepped again without each event in turn.

Leave-one-out attribution: an event's part in an item's rank is the item's rank without that event,
everything else unchanged. All the shorter sessions are stepped in one batch with the whole session.
No stored state changes.

Shapes: N events of the session, T items of the list, k ranks looked through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.stepping.stepper import NumpyColumns, Stepper

DEPTH = 1_000  # ranks after this one are reported as 0
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Attribution:
    """The whole session's list, and each item's rank without each event.

    Ranks count from 1; 0 means after `depth`.

    >>> ranks_NT = np.array([[5], [2]])
    >>> Attribution(np.array([7]), np.ones(1, np.float32), ranks_NT, depth=10).cause(0)
    0
    """

    items_T: Whole
    scores_T: npt.NDArray[np.float32]
    ranks_NT: Whole
    depth: int

    def cause(self, place: int) -> int | None:
        """The event without which the item at `place` (from 0) falls furthest.

        The newest of several events without which it falls equally far, or out of the `depth` best.
        None when the item falls without no event.
        """
        ranks_N = self.ranks_NT[:, place]
        fallen_N = np.where(ranks_N == 0, self.depth + 1, ranks_N)
        furthest = int(fallen_N.max())
        if furthest <= place + 1:
            return None
        return int(np.flatnonzero(fallen_N == furthest)[-1])


def attribute(stepper: Stepper, columns: NumpyColumns, *, exclude_items: bool, k: int) -> Attribution:
    """Step a session of N ≥ 1 events of known items, and again without each of them.

    `exclude_items` leaves the session's items out of all these lists. Without its only event a
    session has no list, and every rank is 0. Raises ValueError without events.
    """
    items_N = columns["item"]
    events = len(items_N)
    if not events:
        raise ValueError("no event to leave out")
    depth = min(DEPTH, stepper.network.items)
    kept = [np.arange(events)]
    if events > 1:
        kept += [np.delete(np.arange(events), left_out) for left_out in range(events)]
    histories = [{name: values[part[:-1]] for name, values in columns.items()} for part in kept]
    rows = stepper.rebuild(histories)
    last = np.array([part[-1] for part in kept])
    exclude = np.tile(items_N, (len(kept), 1)) if exclude_items else None
    step = {name: values[last] for name, values in columns.items()}
    ids_Bk, scores_Bk, _ = stepper.step(step, rows, exclude, k=max(depth, k))
    listed = int((ids_Bk[0, :k] >= 0).sum())
    items_T = ids_Bk[0, :listed]
    ranks_NT = np.zeros((events, listed), np.int64)
    for number, ids_k in enumerate(ids_Bk[1:]):
        found, places = np.nonzero(items_T[:, None] == ids_k[None, :depth])
        ranks_NT[number, found] = places + 1
    return Attribution(items_T, scores_Bk[0, :listed], ranks_NT, depth)
