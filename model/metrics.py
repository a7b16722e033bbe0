"""Recall@k and MRR@k from ranks. A rank counts from 1; 0 says that the item is not ranked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class RankingMetrics:
    """Sums over targets: how many are in the list, and the reciprocals of their ranks."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.count = 0
        self.hits = 0
        self.reciprocal_ranks = 0.0

    def update(self, ranks: npt.NDArray[np.int64]) -> None:
        """Add the targets' ranks, from 1; 0 is a miss."""
        inside = ranks[(ranks > 0) & (ranks <= self.k)]
        self.count += len(ranks)
        self.hits += len(inside)
        self.reciprocal_ranks += float((1.0 / inside).sum())

    @property
    def recall(self) -> float:
        """Share of targets in the top k; 0 without targets."""
        return self.hits / self.count if self.count else 0.0

    @property
    def mrr(self) -> float:
        """Mean of 1/rank, 0 for targets outside the top k."""
        return self.reciprocal_ranks / self.count if self.count else 0.0
