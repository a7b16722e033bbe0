"""The losses. Column i of the scores is row i's target; all others are its negatives.

Shapes: B lanes, C candidates (the B targets, then the shared extra negatives).
"""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_cross_entropy(
    scores_BC: Tensor, candidates_C: Tensor, log_expected_C: Tensor | None = None, logq: float = 0.0
) -> Tensor:
    """Mean of -log softmax(s)_target over the candidates (Hidasi, Karatzoglou, CIKM 2018, eq. 2).

    `log_expected_C` is the log of each candidate's expected count among the draws; it is
    taken off the scores `logq` times, which makes the sampled softmax estimate the full one
    (Bengio, Senécal: Adaptive Importance Sampling, 2008). A candidate that is the row's
    target a second time is no negative and is left out.
    """
    lanes = len(scores_BC)
    if log_expected_C is not None and logq:
        scores_BC = scores_BC - logq * log_expected_C
    repeats_BC = candidates_C[None, :] == candidates_C[:lanes, None]
    repeats_BC.fill_diagonal_(False)
    scores_BC = scores_BC.masked_fill(repeats_BC, -torch.inf)
    return torch.nn.functional.cross_entropy(scores_BC, torch.arange(lanes, device=scores_BC.device))
