"""Ranking of scored items: the top-k list and the rank of a target.

Shapes: B sessions, V items, k list length, M masked items.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32


def top_k(scores_BV: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k best items of each row, best first: (ids_Bk, scores_Bk).

    `exclude_BM` holds item indices that are not to be listed, padded with -1; the scores
    are overwritten there. A row with fewer than k listable items ends in -1 / -inf.

    Two stages, exact: an item of the top k lies in one of the k blocks with the largest
    maxima, so the blocks' maxima are ranked first and then only the items of those blocks.
    """
    items = scores_BV.shape[1]
    if exclude_BM is not None:
        rows, places = torch.nonzero(exclude_BM >= 0, as_tuple=True)
        scores_BV[rows, exclude_BM[rows, places]] = -torch.inf
    blocks = items // BLOCK
    if blocks <= 4 * k:
        scores_Bk, ids_Bk = scores_BV.topk(min(k, items))
    else:
        whole = blocks * BLOCK
        blocked = scores_BV[:, :whole].reshape(-1, blocks, BLOCK)
        best_Bk = blocked.amax(2).topk(k, sorted=False).indices
        candidates = blocked.gather(1, best_Bk[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
        names = (best_Bk[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores_BV.device)).flatten(1)
        if whole < items:
            candidates = torch.cat([candidates, scores_BV[:, whole:]], 1)
            rest = torch.arange(whole, items, device=scores_BV.device).expand(len(scores_BV), -1)
            names = torch.cat([names, rest], 1)
        scores_Bk, places_Bk = candidates.topk(k)
        ids_Bk = names.gather(1, places_Bk)
    ids_Bk = ids_Bk.masked_fill(scores_Bk == -torch.inf, -1)
    if items < k:
        missing = (0, k - items)
        ids_Bk = torch.nn.functional.pad(ids_Bk, missing, value=-1)
        scores_Bk = torch.nn.functional.pad(scores_Bk, missing, value=-torch.inf)
    return ids_Bk, scores_Bk


def rank_pessimistic(scores_BV: Tensor, target_B: Tensor) -> Tensor:
    """The target's rank in its row, from 1: it ranks after every item of equal score."""
    target_score_B1 = scores_BV.gather(1, target_B[:, None])
    return (scores_BV >= target_score_B1).sum(1)
