"""Intervals for means over next events: whole sessions are drawn anew, since their events hang together.

Field, Welsh: Bootstrapping clustered data, JRSS B 2007. All models are measured on the same
draws, so that the difference of two is paired.

Shapes: M models, S sessions, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __format__(self, number_format: str) -> str:
        """The mean with its interval in brackets, each number in the given format."""
        mean, low, high = (format(number, number_format) for number in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def hundredths(self) -> Interval:
        """The same in hundredths."""
        return Interval(100 * self.mean, 100 * self.low, 100 * self.high)

    @classmethod
    def of(cls, mean: float, resampled_R: Floats) -> Interval:
        """The percentile interval of the resampled means."""
        low, high = np.quantile(resampled_R, [0.025, 0.975])
        return cls(float(mean), float(low), float(high))


def resampled_means(
    sums_MS: Floats, counts_S: Floats, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Means of `resamples` draws of S sessions with replacement, M×R: Σ sums / Σ counts of each draw.

    `sums_MS` holds a measure's sum over each session's targets, `counts_S` how many they are.
    """
    rng = np.random.default_rng(seed)
    sessions = len(counts_S)
    means = np.empty((len(sums_MS), resamples))
    for r in range(resamples):
        drawn_S = np.bincount(rng.integers(sessions, size=sessions), minlength=sessions)
        means[:, r] = sums_MS @ drawn_S / np.maximum(counts_S @ drawn_S, 1)
    return means
