"""Ranks what the network of a fused list proposed on another device: sources and ranker are on the CPU.

Shapes: B sessions, N items that the network proposes, R newest items, M masked items, k list length.
Tested by tests/unit/model/training/test_device.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from model.device import CPU
from model.networks.baselines.recent_items import NAME
from model.networks.fused.fused_list import FusedList, Proposals
from model.networks.network import State
from model.stepping.top_k import top_of
from model.stepping.unlisted_items import UnlistedItems

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def rank_on_host(
    fused: FusedList,
    unlisted: UnlistedItems,
    state: State,
    best_BN: tuple[Ids, Scores],
    exclude: Ids | None,
    k: int,
) -> tuple[Ids, Scores, Proposals]:
    """The lists of a wave, B×k, best first, their scores, and what all sources proposed.

    `state` is the sessions' after the step, `best_BN` what the network scored best, with scores.
    """
    ids_BN, scores_BN = (torch.from_numpy(array) for array in best_BN)
    proposals = unlisted.cleared(fused.candidates_after(state[NAME].numpy(), ids_BN, scores_BN))
    masked_BM = None if exclude is None else torch.from_numpy(exclude)
    ids_Bk, scores_Bk = top_of(fused.rank(proposals, CPU), k, masked_BM, unlisted.host_marks_V)
    return ids_Bk.numpy(), scores_Bk.float().numpy(), proposals
