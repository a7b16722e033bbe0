"""Lists for a ranker to learn from while the sources follow the events, as they do in a worker with `follow`.

The newest sessions are stepped in event time. Before each moment the network's popularity and the live
sources learn all events up to it, of all sessions, and none after it. Items that the network has not
learned are new, and come into the lists as they do in a worker.

Shapes: L lists, C candidates, F features, B sessions of a wave, N wanted rows.
Tested by tests/unit/model/training/test_following_lists.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from model.data.sessions import Sessions
from model.freshness.live_sources import LiveSources
from model.freshness.log_refresher import LoggedEvents, LogRefresher
from model.freshness.log_walk import LogWalk, RefreshTimes, Rows
from model.freshness.moving_tables import FreshnessConfig
from model.networks.best_items import best_items
from model.networks.fused.fused_list import FusedList, Proposals
from model.networks.fused.live_tables import STANDING
from model.networks.item_scores import item_scores

EVERY_MS = 60_000  # as `follow_every_s` in a worker
MOST_REFRESHES = 2_000  # over longer times they are further apart: each reads all items


def can_follow(fused: FusedList) -> bool:
    """Whether the tables of its network can be moved, and stepped from items alone."""
    network = fused.network
    return network.columns == ("item",) and not (network.has_own_loss or network.scores_by_direction)


@torch.inference_mode()
def following_lists(
    fused: FusedList,
    sessions: Sessions,
    first: int,
    lists: int,
    trained_V: npt.NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Proposals, torch.Tensor]]:
    """What the sources propose before about `lists` next events of the sessions from `first` on.

    `trained_V` are the items that the network has learned, by default those of the sessions before. Yields
    waves of proposals with the items that came next, B. The sources stand still again afterwards.
    """
    begin_row = int(sessions.offsets[first])
    is_input = np.ones(len(sessions.items), bool)
    is_input[sessions.offsets[1:] - 1] = False
    is_input[:begin_row] = False
    wanted_N = _sampled(np.flatnonzero(is_input), sessions, lists)
    if not len(wanted_N):
        return
    times_ms = sessions.times_ms[begin_row:]
    begin_ms, end_ms = int(times_ms.min()), int(times_ms.max())
    every_ms = max(EVERY_MS, (end_ms - begin_ms) // MOST_REFRESHES)
    # Of older sessions nothing is remembered.
    ends_ms = sessions.times_ms[sessions.offsets[1:] - 1]
    log = LoggedEvents.of(sessions.select(np.flatnonzero(ends_ms >= begin_ms - LiveSources.remembered_ms)))
    if trained_V is None:
        trained_V = np.bincount(sessions.items[:begin_row], minlength=fused.items) > 0
    freshness = FreshnessConfig(popularity=True, new_items=True)
    tables = LogRefresher(fused, fused.items, fused.items, log, begin_ms, freshness, ~trained_V)
    walk = LogWalk(fused.network, tables, sessions, wanted_N)
    try:
        for made in walk.lists(RefreshTimes(begin_ms, every_ms)):
            scores_BV = item_scores(made.output_BH, tables.output_VH, tables.bias_V)
            proposals = fused.candidates_after(made.recent_BR, *best_items(scores_BV, fused.proposed))
            yield proposals, torch.from_numpy(sessions.items[made.rows + 1].astype(np.int64))
    finally:
        fused.live = STANDING


def _sampled(rows_N: Rows, sessions: Sessions, lists: int) -> Rows:
    """The rows of every n-th session, so that about `lists` are left."""
    every = max(1, len(rows_N) // max(1, lists))
    session_N = np.searchsorted(sessions.offsets, rows_N, side="right") - 1
    is_chosen_N: npt.NDArray[np.bool_] = session_N % every == 0
    return rows_N[is_chosen_N]
