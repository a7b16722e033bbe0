"""Extra negatives: items drawn by popularity ** alpha, shared by a whole batch.

Hidasi, Karatzoglou, CIKM 2018, section 3.1. The sampler draws in bulk into a cache, since one large
draw costs far less than many small draws.

Tested by tests/unit/model/training/test_gradient_step.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

CACHED_DRAWS = 1_000_000


class NegativeSampler:
    """Draws `size` items per batch, with replacement. `probability_V` is each item's share.

    >>> sampler = NegativeSampler(np.array([3, 1]), alpha=1.0, size=4, rng=np.random.default_rng(0))
    >>> sampler.probability_V.tolist(), len(sampler.draw())
    ([0.75, 0.25], 4)
    """

    def __init__(
        self, counts: npt.NDArray[np.int64], alpha: float, size: int, rng: np.random.Generator
    ) -> None:
        weights = np.maximum(counts, 1).astype(np.float64) ** alpha
        self.probability_V = weights / weights.sum()
        self._cumulative = np.cumsum(self.probability_V)
        self._cumulative[-1] = 1.0
        self._size = size
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        """Draw from `rng` from now on; empties the cache."""
        self._rng = rng
        self._before_fill = rng.bit_generator.state
        self._cache: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._at = 0

    def draw(self) -> npt.NDArray[np.int64]:
        """Returns the next `size` item indices."""
        if self._at + self._size > len(self._cache):
            self._fill()
        start, self._at = self._at, self._at + self._size
        return self._cache[start : self._at]

    def _fill(self) -> None:
        self._before_fill = self._rng.bit_generator.state
        draws = max(self._size, CACHED_DRAWS // max(1, self._size) * self._size)
        # Sorted points walk the table once; the shuffle restores random order.
        points = np.sort(self._rng.random(draws))
        self._cache = np.searchsorted(self._cumulative, points, side="right").astype(np.int64)
        self._rng.shuffle(self._cache)
        self._at = 0

    def state(self) -> dict[str, Any]:
        """Returns the state for `resume`, as plain values."""
        return {"rng": self._before_fill, "at": self._at}

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from the state of another sampler."""
        self._rng.bit_generator.state = state["rng"]
        self._before_fill = state["rng"]
        if state["at"]:
            self._fill()
        self._at = state["at"]
