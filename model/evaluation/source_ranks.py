"""What each source of a fused list would give alone: its own list's quality on the same next events.

Shapes: B sessions, M items to leave out, S sources, k list length, N next events.
Tested by tests/unit/model/evaluation/test_source_ranks.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from model.data.batches import session_parallel
from model.data.sessions import Sessions
from model.evaluation.metrics import K
from model.evaluation.rank_targets import (
    LANES,
    Evaluation,
    Ranks,
    before_targets,
    newest_items,
    ranks_without_step,
)
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import SOURCES
from model.networks.fused.source_lists import NO_DATA, ranks_in
from model.networks.input_columns import InputColumns

Whole = npt.NDArray[np.int64]


def evaluate_sources(
    fused: FusedList, sessions: Sessions, *, k: int = K, exclude_session_items: bool = False
) -> dict[str, Evaluation]:
    """Recall@k and MRR@k of each source alone, by its name, on the next events of known items."""
    ranked = rank_by_source(fused, sessions, k=k, exclude_session_items=exclude_session_items)
    return {name: ranks.evaluation() for name, ranks in ranked.items()}


@torch.inference_mode()
def rank_by_source(
    fused: FusedList,
    sessions: Sessions,
    *,
    k: int = K,
    exclude_session_items: bool = False,
    popularity_V: npt.NDArray[np.int64] | None = None,
) -> dict[str, Ranks]:
    """Rank the targets of `rank_targets`, in its order, in each source's own list of k; by source.

    An item that is not in that list is a miss. A source without data is left out. `popularity_V` as in
    `rank_targets`.
    """
    unknown = int(((sessions.items < 0) & sessions.counted).sum())
    numbers = np.arange(len(sessions))
    known, origin = sessions.known_of()
    if popularity_V is None:
        numbers[origin] = np.arange(len(origin))
    columns = InputColumns(fused, known)
    state = fused.initial_state(0, fused.device)
    ranks: list[Whole] = [np.zeros((0, len(SOURCES)), np.int64)]
    of_sessions: list[Whole] = [np.zeros(0, np.int64)]
    for batch in session_parallel(known, LANES):
        state = fused.carry(state, batch)
        output_BH, state = fused.advance(columns.at(batch.rows), state)
        rows_B, output_BH = before_targets(known, batch.rows, output_BH)
        if not len(rows_B):
            continue
        proposals = fused.candidates(output_BH, *fused.propose(output_BH))
        own_BM = newest_items(known, rows_B).numpy() if exclude_session_items else None
        lists_BSk = fused.lists_by_source(proposals, own_BM, k)
        ranks.append(ranks_in(lists_BSk, columns.targets(rows_B).cpu().numpy()))
        of_sessions.append(numbers[origin[np.searchsorted(known.offsets, rows_B, side="right") - 1]])
    found = {}
    count = len(known) if popularity_V is None else len(sessions)
    for name, rank_N in zip(SOURCES, np.concatenate(ranks).T, strict=True):
        if not (rank_N == NO_DATA).any():
            parts = [(rank_N, np.concatenate(of_sessions))]
            if popularity_V is not None:
                parts += ranks_without_step(sessions, popularity_V)
            found[name] = Ranks(
                np.concatenate([part for part, _ in parts]),
                np.concatenate([part for _, part in parts]),
                count, unknown, k, np.zeros(fused.items, np.int64), 0.0,
            )  # fmt: skip
    return found
