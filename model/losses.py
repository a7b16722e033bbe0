"""The losses of GRU4Rec. Column i of the scores is row i's target; all others are its negatives.

r_i is the target's score, r_j a negative's score, s_j the negative's share in the softmax over the
row's negatives. `repeats_BC` marks candidates that repeat the row's target; every loss leaves them
out. Each loss is a mean over the B rows.

Shapes: B lanes, C candidates (the B targets, then the shared extra negatives), V items.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

Loss = Callable[[Tensor, Tensor, float], Tensor]


def repeats_of_targets(candidates_C: Tensor, lanes: int) -> Tensor:
    """Returns a mask, B×C: per row, the row's own column and every other candidate of the same item.

    >>> repeats_of_targets(torch.tensor([3, 5, 3]), 2).tolist()
    [[True, False, True], [False, True, False]]
    """
    return candidates_C[None, :] == candidates_C[:lanes, None]


def without_logq(scores_BC: Tensor, log_expected_C: Tensor, logq: float) -> Tensor:
    """Returns scores minus `logq` times the log of each candidate's expected count among the draws.

    With logq = 1 the softmax over the candidates estimates the softmax over all items (Bengio,
    Senécal: Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic
    Language Model, IEEE TNN 2008, eq. 8).
    """
    return scores_BC - logq * log_expected_C if logq else scores_BC


def sampled_cross_entropy(scores_BC: Tensor, repeats_BC: Tensor, regularisation: float = 0.0) -> Tensor:
    """L = -log softmax(r)_i over target and negatives (Hidasi, Karatzoglou, CIKM 2018, eq. 2)."""
    lanes = len(scores_BC)
    masked = repeats_BC.clone()
    masked[:, :lanes].fill_diagonal_(False)
    return cross_entropy(
        scores_BC.masked_fill(masked, -torch.inf), torch.arange(lanes, device=scores_BC.device)
    )


def full_cross_entropy(scores_BV: Tensor, target_B: Tensor) -> Tensor:
    """L = -log softmax(r)_i over all items, without sampling."""
    return cross_entropy(scores_BV, target_B)


def cross_entropies(scores_BV: Tensor, target_B: Tensor) -> Tensor:
    """Returns -log softmax(r)_i over all items for each row; evaluation's scores lie by columns.

    >>> cross_entropies(torch.zeros(1, 4), torch.tensor([2])).exp().tolist()
    [4.0]
    """
    highest_B = scores_BV.amax(1)
    log_sum_B = (scores_BV - highest_B[:, None]).exp_().sum(1).log_().add_(highest_B)
    return log_sum_B - scores_BV.gather(1, target_B[:, None])[:, 0]


def bpr(scores_BC: Tensor, repeats_BC: Tensor, regularisation: float = 0.0) -> Tensor:
    """L = -1/N Σ_j log σ(r_i - r_j) (Hidasi et al., ICLR 2016, section 3.1.3)."""
    target_B1 = _target_scores(scores_BC)
    return _mean_over_negatives(-logsigmoid(target_B1 - scores_BC), repeats_BC)


def top1(scores_BC: Tensor, repeats_BC: Tensor, regularisation: float = 0.0) -> Tensor:
    """L = 1/N Σ_j σ(r_j - r_i) + σ(r_j²) (Hidasi et al., ICLR 2016, section 3.1.3)."""
    target_B1 = _target_scores(scores_BC)
    return _mean_over_negatives(
        torch.sigmoid(scores_BC - target_B1) + torch.sigmoid(scores_BC.square()), repeats_BC
    )


def bpr_max(scores_BC: Tensor, repeats_BC: Tensor, regularisation: float = 0.0) -> Tensor:
    """L = -log Σ_j s_j σ(r_i - r_j) + λ Σ_j s_j r_j² (Hidasi, Karatzoglou, CIKM 2018, eq. 7 and 8)."""
    target_B1 = _target_scores(scores_BC)
    log_share_BC = _of_negatives(scores_BC, repeats_BC).log_softmax(1)
    loss_B = -(log_share_BC + logsigmoid(target_B1 - scores_BC)).logsumexp(1)
    if regularisation:
        loss_B = loss_B + regularisation * (log_share_BC.exp() * scores_BC.square()).sum(1)
    return _mean_of_rows_with_negatives(loss_B, repeats_BC)


def top1_max(scores_BC: Tensor, repeats_BC: Tensor, regularisation: float = 0.0) -> Tensor:
    """L = Σ_j s_j (σ(r_j - r_i) + σ(r_j²)) (Hidasi, Karatzoglou, CIKM 2018, eq. 6)."""
    target_B1 = _target_scores(scores_BC)
    share_BC = _of_negatives(scores_BC, repeats_BC).softmax(1)
    loss_BC = share_BC * (torch.sigmoid(scores_BC - target_B1) + torch.sigmoid(scores_BC.square()))
    return _mean_of_rows_with_negatives(loss_BC.sum(1), repeats_BC)


# Losses that compare a target with sampled negatives; full cross-entropy scores all items.
SAMPLED_LOSSES: dict[str, Loss] = {
    "cross-entropy": sampled_cross_entropy,
    "bpr": bpr,
    "top1": top1,
    "bpr-max": bpr_max,
    "top1-max": top1_max,
}


def _target_scores(scores_BC: Tensor) -> Tensor:
    return scores_BC.diagonal()[:, None]


def _of_negatives(scores_BC: Tensor, repeats_BC: Tensor) -> Tensor:
    """Masks all but negatives by a finite number: a row without negatives gets a gradient of 0."""
    return scores_BC.masked_fill(repeats_BC, torch.finfo(scores_BC.dtype).min / 2)


def _mean_over_negatives(loss_BC: Tensor, repeats_BC: Tensor) -> Tensor:
    negatives_BC = (~repeats_BC).to(loss_BC.dtype)
    loss_B = (loss_BC * negatives_BC).sum(1) / negatives_BC.sum(1).clamp(min=1)
    return loss_B.mean()


def _mean_of_rows_with_negatives(loss_B: Tensor, repeats_BC: Tensor) -> Tensor:
    """A row without negatives has no softmax over them: its loss is 0."""
    return loss_B.where(~repeats_BC.all(1), 0.0).mean()
