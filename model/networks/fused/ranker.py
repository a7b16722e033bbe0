"""The ranker of a fused list: a small network that scores candidates by their features.

score = w₂ · relu(W₁ x + b₁), learned by the listwise softmax over a session's candidates: the
cross-entropy of ListNet with one relevant item (Cao et al., ICML 2007).

Shapes: B lists, C candidates, F features, H units, L lists to learn from.
Tested by tests/unit/model/networks/fused/test_ranker.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from model.compiled import compiled
from model.networks.fused.source_arrays import FEATURES, SOURCES, Floats, Longs

UNITS = 32
PASSES = 12
LISTS_IN_BATCH = 128
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-4


@compiled
def rank_scores(
    features_BCF: Floats, count_B: Longs, weight_FH: Floats, bias_H: Floats, output_H: Floats
) -> Floats:
    """The score of each candidate, B×C; -inf beyond a session's candidates."""
    scores_BC = np.full(features_BCF.shape[:2], -np.inf, np.float32)
    units_H = np.empty(len(bias_H), np.float32)
    for b in range(len(features_BCF)):
        for c in range(count_B[b]):
            units_H[:] = bias_H
            for f in range(len(weight_FH)):
                value = features_BCF[b, c, f]
                if value != 0:
                    for h in range(len(units_H)):
                        units_H[h] += value * weight_FH[f, h]
            score = np.float32(0)
            for h in range(len(units_H)):
                score += max(units_H[h], np.float32(0)) * output_H[h]
            scores_BC[b, c] = score
    return scores_BC


class Ranker(nn.Module):
    """Scores candidates; `fit` learns the weights from lists of which the next item is known."""

    weight_FH: Tensor
    bias_H: Tensor
    output_H: Tensor

    def __init__(self, features: int = len(FEATURES)) -> None:
        super().__init__()
        self.register_buffer("weight_FH", torch.zeros(features, UNITS))
        self.register_buffer("bias_H", torch.zeros(UNITS))
        self.register_buffer("output_H", torch.zeros(UNITS))
        # Before `fit`, an item's score is the sum of its values by the sources' own ranks.
        self.weight_FH[[feature for feature in SOURCES.values() if feature < features], 0] = 1
        self.output_H[0] = 1

    def _apply(self, fn: Any, recurse: bool = True) -> Ranker:
        """Stay on the CPU, whatever the device: the compiled pass reads the weights."""
        return self

    @property
    def has_learned(self) -> bool:
        """Whether it has weights from `fit`; else it adds the sources' ranks up."""
        return bool((self.output_H[1:] != 0).any())

    def scores(self, features_BCF: Floats, count_B: Longs) -> Floats:
        """The score of each candidate, B×C; -inf beyond a session's candidates."""
        weights = self.weight_FH.numpy(), self.bias_H.numpy(), self.output_H.numpy()
        return rank_scores(features_BCF, count_B, *weights)

    def take(self, other: Ranker) -> None:
        """Use the weights of a ranker of fewer features; it knows nothing of the others."""
        missing = len(self.weight_FH) - len(other.weight_FH)
        self.weight_FH.copy_(pad(other.weight_FH, (0, 0, 0, missing)))
        self.bias_H.copy_(other.bias_H)
        self.output_H.copy_(other.output_H)

    def fit(
        self,
        features_LCF: Tensor,
        count_L: Tensor,
        place_L: Tensor,
        seed: int,
        *,
        goes_on: bool = False,
    ) -> list[float]:
        """Learn from L lists, each with its next item at a place among its candidates.

        `goes_on`: from the present weights, where a short window has few lists; else from new ones.

        What lies beyond a list's candidates is set to 0. Returns the mean loss of each pass.
        """
        generator = torch.Generator().manual_seed(seed)
        present_LC = torch.arange(features_LCF.shape[1]) < count_L[:, None]
        features_LCF.masked_fill_(~present_LC[:, :, None], 0)
        chosen = features_LCF[present_LC]
        mean_F, scale_F = chosen.mean(0), chosen.std(0).clamp(min=1e-3)
        if goes_on:
            weight_FH, output_H = self.weight_FH * scale_F[:, None], self.output_H.clone()
            bias_H = self.bias_H + mean_F @ self.weight_FH
        else:
            weight_FH = torch.randn(len(mean_F), UNITS, generator=generator) / len(mean_F) ** 0.5
            output_H = torch.randn(UNITS, generator=generator) / UNITS**0.5
            bias_H = torch.zeros(UNITS)
        weights = [weight_FH.requires_grad_(), bias_H.requires_grad_(), output_H.requires_grad_()]
        optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        batches = PASSES * -(-len(place_L) // LISTS_IN_BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=batches)
        losses = []
        for _ in range(PASSES):
            total = 0.0
            for part in torch.randperm(len(place_L), generator=generator).split(LISTS_IN_BATCH):  # type: ignore[no-untyped-call]
                widest = int(count_L[part].max())
                units = ((features_LCF[part, :widest] - mean_F) / scale_F) @ weights[0] + weights[1]
                scores = (units.relu() @ weights[2]).masked_fill(~present_LC[part, :widest], -torch.inf)
                loss = cross_entropy(scores, place_L[part])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += loss.item() * len(part)
            losses.append(total / len(place_L))
        with torch.no_grad():
            scaled_FH = weights[0] / scale_F[:, None]
            self.weight_FH.copy_(scaled_FH)
            self.bias_H.copy_(weights[1] - mean_F @ scaled_FH)
            self.output_H.copy_(weights[2])
        return losses
