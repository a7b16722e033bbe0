"""Which earlier event caused an item to be listed: the list stepped again without each event in turn.

Leave-one-out attribution: an event's part in an item's rank is the rank that the item has without
that event, all else as it was. All the shorter sessions are stepped in one batch, beside the whole
one. Knows a stepper and a session's columns; nobody's state changes.

Shapes: N events of the session, T items of the list, k ranks looked through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.stepping.stepper import NumpyColumns, Stepper

# A rank behind this is told as "not among them".
DEPTH = 1_000
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Attribution:
    """The whole session's list, and each item's rank without each event; ranks from 1, 0: behind `depth`."""

    items_T: Whole
    scores_T: npt.NDArray[np.float32]
    ranks_NT: Whole
    depth: int

    def cause(self, place: int) -> int | None:
        """The event without which the item at `place` (from 0) falls furthest; None when none lets it fall.

        Of several without which it is not among the `depth` best, or equally far behind, the newest.
        """
        ranks_N = self.ranks_NT[:, place]
        fallen_N = np.where(ranks_N == 0, self.depth + 1, ranks_N)
        furthest = int(fallen_N.max())
        if furthest <= place + 1:
            return None
        return int(np.flatnonzero(fallen_N == furthest)[-1])


def attribute(stepper: Stepper, columns: NumpyColumns, *, exclude_items: bool, k: int) -> Attribution:
    """Step a session of N ≥ 1 events of known items, and again without each of them.

    With `exclude_items` its own items are listed in none of these. Without its only event a
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
    rows = stepper.rebuild([{name: values[of[:-1]] for name, values in columns.items()} for of in kept])
    last = np.array([of[-1] for of in kept])
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
