"""Hits over event time, by the hour: what a rolling Recall is read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class HourlyHits:
    """Hits and targets of each hour from `first_hour_ms` on.

    `cadence` is None for a baseline that learns live; `follows` tells whether a version follows
    the events between its trainings.
    """

    name: str
    cadence: str | None
    follows: bool
    first_hour_ms: int
    hits: list[int]
    targets: list[int]

    @property
    def recall(self) -> float:
        """Of all hours; 0 without targets."""
        return sum(self.hits) / max(1, sum(self.targets))

    def rolling(self, hours: int, at_least: int = 1) -> npt.NDArray[np.float64]:
        """Recall of each hour and those before it, `hours` in all, fewer at the start.

        nan where they have fewer than `at_least` targets.
        """
        hits, targets = (
            np.convolve(np.asarray(counts, float), np.ones(hours))[: len(counts)]
            for counts in (self.hits, self.targets)
        )
        recall: npt.NDArray[np.float64] = np.full(len(hits), np.nan)
        np.divide(hits, targets, out=recall, where=targets >= at_least)
        return recall
