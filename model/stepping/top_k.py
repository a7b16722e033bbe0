"""The top-k list of scored items and the rank of a target: the definition that all lists follow.

`top_k` reads a full row of scores. `model.stepping.shortlist` and `compiled_top_k` give the same lists
on a CPU without scoring every item in float32; `faiss_shortlists` approximate them.

Shapes: B sessions, V items, N scored neighbours, G blocks of BLOCK items, k list length, M masked items.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from model.networks.best_items import best_of_rows
from model.networks.network import Scores

BLOCK = 32  # items of which only the maximum is ranked at first


def top_k(scores_BV: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k best items of each row, best first: (ids_Bk, scores_Bk).

    `exclude_BM` holds item indices to leave out, padded with -1; their scores are overwritten. A row
    with fewer than k listable items ends in -1 / -inf.

    >>> ids_Bk, scores_Bk = top_k(torch.tensor([[0.5, 2.0, 1.0]]), 3, torch.tensor([[1, -1]]))
    >>> ids_Bk.tolist(), scores_Bk.tolist()
    ([[2, 0, -1]], [[1.0, 0.5, -inf]])

    Two stages, exact: an item of the top k lies in one of the k blocks with the largest
    maxima, so the blocks' maxima are ranked first and then only the items of those blocks.
    Items v, v + G, v + 2G … form one of the G blocks, so that the maxima are taken of whole rows.
    """
    items = scores_BV.shape[1]
    if exclude_BM is not None:
        _exclude(scores_BV, exclude_BM)
    blocks = items // BLOCK
    if blocks <= 4 * k:
        scores_Bk, ids_Bk = scores_BV.topk(min(k, items))
    else:
        whole = blocks * BLOCK
        best_Bk = _block_maxima(scores_BV, blocks).topk(k, sorted=False).indices
        places = torch.arange(BLOCK, device=scores_BV.device)[:, None] * blocks
        names = (best_Bk[:, None, :] + places).flatten(1)
        if whole < items:
            rest = torch.arange(whole, items, device=scores_BV.device).expand(len(scores_BV), -1)
            names = torch.cat([names, rest], 1)
        scores_Bk, places_Bk = scores_BV.gather(1, names).topk(k)
        ids_Bk = names.gather(1, places_Bk)
    ids_Bk = ids_Bk.masked_fill(scores_Bk == -torch.inf, -1)
    if items < k:
        missing = (0, k - items)
        ids_Bk = pad(ids_Bk, missing, value=-1)
        scores_Bk = pad(scores_Bk, missing, value=-torch.inf)
    return ids_Bk, scores_Bk


def top_of(
    scores: Scores, k: int, exclude_BM: Tensor | None = None, unlisted_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`top_k` of a full row of scores, or of scored neighbours (ids, scores), both B×N.

    Items that `unlisted_V` marks are left out, too; it has V items or more. Neighbours of equal score
    keep their order, whatever N is: neighbours' scores are often equal.

    >>> neighbours = torch.tensor([[4, 7, -1]]), torch.tensor([[2.0, 1.0, -torch.inf]])
    >>> top_of(neighbours, 1, unlisted_V=torch.arange(8) == 4)[0].tolist()
    [[7]]
    """
    if isinstance(scores, Tensor):
        if unlisted_V is not None:
            scores.masked_fill_(unlisted_V[: scores.shape[1]], -torch.inf)
        return top_k(scores, k, exclude_BM)
    if scores[0].device.type == "cpu" and scores[1].dtype == torch.float32:
        return _top_of_few(*scores, k, exclude_BM, unlisted_V)
    ids_BN, scores_BN = _listable(*scores, exclude_BM)
    if unlisted_V is not None:
        scores_BN = scores_BN.masked_fill(unlisted_V[ids_BN.clamp(min=0)], -torch.inf)
    missing = (0, max(0, k - scores_BN.shape[1]))
    sorted_BN, places_BN = scores_BN.sort(dim=1, descending=True, stable=True)
    scores_Bk, ids_Bk = sorted_BN[:, :k], ids_BN.gather(1, places_BN[:, :k])
    ids_Bk = ids_Bk.masked_fill(scores_Bk == -torch.inf, -1)
    return pad(ids_Bk, missing, value=-1), pad(scores_Bk, missing, value=-torch.inf)


def _top_of_few(
    ids_BN: Tensor, scores_BN: Tensor, k: int, exclude_BM: Tensor | None, unlisted_V: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `top_of` by one compiled pass: a sort of all neighbours takes several times as long."""
    ids, best = best_of_rows(
        ids_BN.long().contiguous().numpy(),
        scores_BN.detach().contiguous().numpy(),
        np.empty((len(ids_BN), 0), np.int64) if exclude_BM is None else exclude_BM.contiguous().numpy(),
        np.empty(0, np.bool_) if unlisted_V is None else unlisted_V.numpy(),
        k,
    )
    return torch.from_numpy(ids), torch.from_numpy(best)


def rank_of(scores: Scores, target_B: Tensor, exclude_BM: Tensor | None = None) -> Tensor:
    """The target's pessimistic rank, from 1; 0 when it is excluded or not among the neighbours.

    A full row of scores is overwritten at the excluded items.

    >>> rank_of(torch.tensor([[0.5, 2.0, 2.0]]), torch.tensor([1])).tolist()
    [2]
    """
    if isinstance(scores, Tensor):
        if exclude_BM is None:
            return rank_pessimistic(scores, target_B)
        _exclude(scores, exclude_BM)
        excluded_B = scores.gather(1, target_B[:, None])[:, 0] == -torch.inf
        return rank_pessimistic(scores, target_B).masked_fill(excluded_B, 0)
    ids_BN, scores_BN = _listable(*scores, exclude_BM)
    is_target_BN = (ids_BN == target_B[:, None]) & (scores_BN > -torch.inf)
    target_score_B1 = scores_BN.masked_fill(~is_target_BN, -torch.inf).amax(1, keepdim=True)
    return (scores_BN >= target_score_B1).sum(1).masked_fill(~is_target_BN.any(1), 0)


def _block_maxima(scores_BV: Tensor, blocks: int) -> Tensor:
    """The maximum of each block, B×G, for scores stored by rows or by columns."""
    scores_VB = scores_BV.t()
    if scores_VB.is_contiguous():
        return scores_VB[: blocks * BLOCK].reshape(BLOCK, -1).amax(0).view(blocks, -1).t()
    return scores_BV[:, : blocks * BLOCK].reshape(-1, BLOCK, blocks).amax(1)


def _exclude(scores_BV: Tensor, exclude_BM: Tensor) -> None:
    if scores_BV.device.type != "cpu":
        # How many items are left out is an answer that the processor would wait for.
        left_BM = torch.where(exclude_BM >= 0, -torch.inf, torch.inf).to(scores_BV.dtype)
        scores_BV.scatter_reduce_(1, exclude_BM.clamp(min=0), left_BM, "amin")
        return
    rows, places = torch.nonzero(exclude_BM >= 0, as_tuple=True)
    scores_BV[rows, exclude_BM[rows, places]] = -torch.inf


def _listable(ids_BN: Tensor, scores_BN: Tensor, exclude_BM: Tensor | None) -> tuple[Tensor, Tensor]:
    """Neighbours, with -inf as the score of excluded ones and of padding."""
    hidden_BN = ids_BN < 0
    if exclude_BM is not None:
        hidden_BN = hidden_BN | (ids_BN[:, :, None] == exclude_BM[:, None, :]).any(2)
    return ids_BN, scores_BN.masked_fill(hidden_BN, -torch.inf)


def rank_pessimistic(scores_BV: Tensor, target_B: Tensor) -> Tensor:
    """The target's rank in its row, from 1: it ranks after every item of equal score."""
    target_score_B1 = scores_BV.gather(1, target_B[:, None])
    return (scores_BV >= target_score_B1).sum(1)
