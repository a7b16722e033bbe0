"""Ranks of next events in the lists that a version shows while event time goes on.

Sessions are stepped in event time, as in the stream; until a session's first known item its list is POP's.

Shapes: N rows of a log's sessions, B sessions in the wave, V items, C candidates.
Tested by tests/unit/replay/cadence/test_run_cadence.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.data.sessions import Sessions
from model.evaluation.rank_targets import newest_items
from model.freshness.log_refresher import LogRefresher
from model.freshness.log_walk import ListsToMake, LogWalk, RefreshTimes, Rows
from model.networks.best_items import best_items
from model.networks.item_scores import item_scores
from model.networks.network import Scores
from model.stepping.top_k import rank_of
from replay.cadence.trainer import Version


@torch.inference_mode()
def ranks_in_lists(
    version: Version,
    tables: LogRefresher,
    sessions: Sessions,
    rows_N: Rows,
    refreshes: RefreshTimes,
    *,
    exclude_session_items: bool = False,
) -> Rows:
    """Rank the event after each row of `rows_N` in the list made at that row, ties against it.

    `tables` are the version's own and are refreshed as `refreshes` says. Rows are ascending.
    """
    ranks_N = np.zeros(len(rows_N), np.int64)
    ascending = np.sort(version.counts_V)
    for made in LogWalk(version.network, tables, sessions, rows_N).lists(refreshes):
        targets_B = sessions.items[made.rows + 1].astype(np.int64)
        ranks_B = np.zeros(len(targets_B), np.int64)
        popular_B = ~made.has_stepped_B & (targets_B < len(ascending))
        counts = version.counts_V[targets_B[popular_B]]
        ranks_B[popular_B] = len(ascending) - np.searchsorted(ascending, counts, side="left")
        size = len(tables.bias_V)
        scored = made.has_stepped_B & (targets_B < size)
        if scored.any():
            excluded = _own_items(sessions, made.rows[scored], size) if exclude_session_items else None
            scores = _scores(version, tables, made, np.flatnonzero(scored))
            ranks_B[scored] = rank_of(scores, torch.from_numpy(targets_B[scored]), excluded).numpy()
        ranks_N[made.places] = ranks_B
    return ranks_N


def _scores(version: Version, tables: LogRefresher, made: ListsToMake, chosen: Rows) -> Scores:
    """The scores of all items, or of a fused list's candidates, for the chosen sessions."""
    output_BH = made.output_BH[torch.from_numpy(chosen)]
    scores_BV = item_scores(output_BH, tables.output_VH, tables.bias_V)
    fused = version.fused
    if fused is None:
        return scores_BV
    ids_BN, scores_BN = best_items(scores_BV, fused.proposed)
    return fused.rank(fused.candidates_after(made.recent_BR[chosen], ids_BN, scores_BN), torch.device("cpu"))


def _own_items(sessions: Sessions, rows: Rows, size: int) -> Tensor:
    items_BM = newest_items(sessions, rows).long()
    return items_BM.masked_fill(items_BM >= size, -1)
