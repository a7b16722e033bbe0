"""What each source of a fused list would give alone: its own list's quality on the same next events.

Shapes: B sessions, C candidates.
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
from model.networks.input_columns import InputColumns


@torch.inference_mode()
def evaluate_sources(
    fused: FusedList, sessions: Sessions, *, k: int = K, exclude_session_items: bool = False
) -> dict[str, Evaluation]:
    """Recall@k and MRR@k of each source alone, by its name, on the next events of known items.

    An item that the source does not propose is a miss, and equal items count against the target.
    """
    unknown = int(((sessions.items < 0) & sessions.counted).sum())
    known = sessions.known()
    columns = InputColumns(fused, known)
    state = fused.initial_state(0)
    ranks: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in SOURCES}
    for batch in session_parallel(known, LANES):
        state = fused.carry(state, batch)
        output_BH, state = fused.advance(columns.at(batch.rows), state)
        ids_BC, features_BCF, count_B = fused.candidates(output_BH, *fused.propose(output_BH))
        hidden_BC = np.arange(ids_BC.shape[1]) >= count_B[:, None]
        if exclude_session_items:
            own_BM = newest_items(known, batch.rows).numpy()
            hidden_BC |= (ids_BC[:, :, None] == own_BM[:, None, :]).any(2)
        is_target_BC = (ids_BC == columns.targets(batch.rows).numpy()[:, None]) & ~hidden_BC
        chosen_B = np.ones(len(batch.rows), bool)
        if known.is_target is not None:
            chosen_B = known.is_target[batch.rows + 1]
        for name, feature in SOURCES.items():
            values_BC = np.where(hidden_BC, 0, features_BCF[:, :, feature])
            target_B = np.where(is_target_BC, values_BC, 0).max(1)
            rank_B = (values_BC >= target_B[:, None]).sum(1)
            ranks[name].append(np.where(target_B > 0, rank_B, 0)[chosen_B])
    found = {}
    for name, parts in ranks.items():
        metrics = RankingMetrics(k)
        rank_N = np.concatenate([*parts, np.zeros(0, np.int64)])
        metrics.update(rank_N)
        accuracy = float((rank_N == 1).mean()) if len(rank_N) else 0.0
        found[name] = Evaluation(k, metrics.recall, metrics.mrr, metrics.count, len(known), unknown, accuracy)
    return found
