"""What each source of a fused list would give alone: its own list's quality on the same next events.

Shapes: B sessions, M items to leave out, S sources, k list length, N next events.
Tested by tests/unit/model/training/test_fused_training.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from model.data.batches import session_parallel
from model.data.sessions import Sessions
from model.evaluation.metrics import K, RankingMetrics
from model.evaluation.rank_targets import LANES, Evaluation, newest_items
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import SOURCES
from model.networks.fused.source_lists import NO_DATA, ranks_in
from model.networks.input_columns import InputColumns


@torch.inference_mode()
def evaluate_sources(
    fused: FusedList, sessions: Sessions, *, k: int = K, exclude_session_items: bool = False
) -> dict[str, Evaluation]:
    """Recall@k and MRR@k of each source alone, by its name, on the next events of known items.

    An item that the source does not propose is a miss. A source without data is left out.
    """
    unknown = int(((sessions.items < 0) & sessions.counted).sum())
    known = sessions.known()
    columns = InputColumns(fused, known)
    state = fused.initial_state(0)
    ranks: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in SOURCES}
    for batch in session_parallel(known, LANES):
        state = fused.carry(state, batch)
        output_BH, state = fused.advance(columns.at(batch.rows), state)
        proposals = fused.candidates(output_BH, *fused.propose(output_BH))
        own_BM = newest_items(known, batch.rows).numpy() if exclude_session_items else None
        lists_BSk = fused.lists_by_source(proposals, own_BM, k)
        ranks_BS = ranks_in(lists_BSk, columns.targets(batch.rows).numpy())
        chosen_B = np.ones(len(batch.rows), bool)
        if known.is_target is not None:
            chosen_B = known.is_target[batch.rows + 1]
        for name, rank_B in zip(SOURCES, ranks_BS.T, strict=True):
            ranks[name].append(rank_B[chosen_B])
    found = {}
    for name, parts in ranks.items():
        metrics = RankingMetrics(k)
        rank_N = np.concatenate([*parts, np.zeros(0, np.int64)])
        if (rank_N == NO_DATA).any():
            continue
        metrics.update(rank_N)
        accuracy = float((rank_N == 1).mean()) if len(rank_N) else 0.0
        found[name] = Evaluation(k, metrics.recall, metrics.mrr, metrics.count, len(known), unknown, accuracy)
    return found
