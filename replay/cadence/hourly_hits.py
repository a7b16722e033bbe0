"""Hits and targets by hour of event time, and the rolling Recall that they give.

Shapes: T hours.
Tested by tests/learning/test_cadence_command.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class HourlyHits:
    """Hits and targets of each hour from `first_hour_ms` on.

    `cadence` is None for a baseline that learns from every event; `follows` tells whether versions
    are refreshed between their trainings.

    >>> HourlyHits("POP", None, False, 0, hits=[1, 3], targets=[4, 4]).rolling(hours=2).tolist()
    [0.25, 0.5]
    """

    name: str
    cadence: str | None
    follows: bool
    first_hour_ms: int
    hits: list[int]
    targets: list[int]

    @property
    def recall(self) -> float:
        """Recall of all hours; 0 without targets."""
        return sum(self.hits) / max(1, sum(self.targets))

    def rolling(self, hours: int, at_least: int = 1) -> npt.NDArray[np.float64]:
        """Recall over each hour and the `hours` - 1 before it, T; fewer at the start.

        nan where these hours have fewer than `at_least` targets.
        """
        hits, targets = (
            np.convolve(np.asarray(counts, float), np.ones(hours))[: len(counts)]
            for counts in (self.hits, self.targets)
        )
        recall: npt.NDArray[np.float64] = np.full(len(hits), np.nan)
        np.divide(hits, targets, out=recall, where=targets >= at_least)
        return recall
