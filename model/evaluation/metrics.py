"""Recall@k and MRR@k from ranks. A rank counts from 1; 0 means not ranked.

Tested by tests/unit/model/evaluation/test_rank_targets.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH

# The default k of Recall@k and MRR@k: the length of a served list.
K = LIST_LENGTH


def is_hit(ranks: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.bool_]:
    """Returns a mask of the targets in the top k.

    >>> is_hit(np.array([1, 3, 0]), 2).tolist()
    [True, False, False]
    """
    return (ranks > 0) & (ranks <= k)


def reciprocal_ranks(ranks: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float64]:
    """Returns 1/rank of each target, 0 outside the top k.

    >>> reciprocal_ranks(np.array([1, 4, 0]), 20).tolist()
    [1.0, 0.25, 0.0]
    """
    return np.where(is_hit(ranks, k), 1 / np.maximum(ranks, 1), 0.0)


class RankingMetrics:
    """Sums over targets: hits in the top k, and reciprocal ranks.

    >>> metrics = RankingMetrics(k=2)
    >>> metrics.update(np.array([1, 2, 9, 0]))
    >>> metrics.recall, metrics.mrr
    (0.5, 0.375)
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.count = 0
        self.hits = 0
        self.reciprocal_ranks = 0.0

    def update(self, ranks: npt.NDArray[np.int64]) -> None:
        """Add the ranks of targets, from 1; 0 is a miss."""
        self.count += len(ranks)
        self.hits += int(is_hit(ranks, self.k).sum())
        self.reciprocal_ranks += float(reciprocal_ranks(ranks, self.k).sum())

    @property
    def recall(self) -> float:
        """Share of targets in the top k; 0 without targets."""
        return self.hits / self.count if self.count else 0.0

    @property
    def mrr(self) -> float:
        """Mean of 1/rank, 0 for targets outside the top k."""
        return self.reciprocal_ranks / self.count if self.count else 0.0
