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
import torch

from model.data.sessions import Sessions
from model.networks.network import SampledNetwork

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


@torch.no_grad()
def place_new_items(network: SampledNetwork, sessions: Sessions, is_known_V: npt.NDArray[np.bool_]) -> None:
    """Put each item that is not known, but clicked beside known ones, at the mean of their rows."""
    co_clicks = CoClicks.of(sessions)
    chosen = ~is_known_V[co_clicks.items] & is_known_V[co_clicks.neighbours]
    items_M, place_N = np.unique(co_clicks.items[chosen], return_inverse=True)
    items, place = torch.from_numpy(items_M), torch.from_numpy(place_N)
    neighbours = torch.from_numpy(co_clicks.neighbours[chosen])
    counts_M = torch.bincount(place, minlength=len(items))
    for name in {network.input_table, network.output_table, network.bias_table}:
        if not network.get_parameter(name).requires_grad:
            continue
        table = network.get_parameter(name).data
        sums = table.new_zeros((len(items), *table.shape[1:]))
        sums.index_add_(0, place, table[neighbours])
        table[items] = sums / counts_M.view(-1, *[1] * (table.ndim - 1))
