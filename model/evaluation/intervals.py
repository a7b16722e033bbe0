"""95 % intervals of means over next events, with whole sessions as the unit of sampling.

`resampled_means` draws sessions again where all events are at hand (Field, Welsh: Bootstrapping
clustered data, JRSS B 2007). All models are measured on the same draws, so that the difference of
two is paired. `grouped_intervals` works from sums that are kept online: every session belongs to one
of G groups by its hash, and leaving one group out at a time shows how much the mean depends on it
(delete-a-group jackknife: Kott, Journal of Official Statistics 17 (4), 2001). The sums of several
workers can be added first.

Shapes: M models or measures, S sessions, R resamples, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

RESAMPLES = 1000


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


def grouped_intervals(sums_MG: Floats, counts_G: Floats) -> list[Interval]:
    """Σ sums / Σ counts of each measure and its 95 % interval, by Student's t; not a number without events.

    θ is the mean, θ_g that without group g: var θ = (G - 1) / G · Σ_g (θ_g - θ)², over the groups
    that have events. The ends are not a number where fewer than two have.
    """
    held = counts_G > 0
    groups, count = int(held.sum()), float(counts_G.sum())
    nan = float("nan")
    if not groups:
        return [Interval(nan, nan, nan)] * len(sums_MG)
    totals_M = sums_MG.sum(axis=1)
    means_M = totals_M / count
    if groups == 1:
        return [Interval(float(mean), nan, nan) for mean in means_M]
    without_MG = (totals_M[:, None] - sums_MG[:, held]) / (count - counts_G[held])
    squares_M = ((without_MG - means_M[:, None]) ** 2).sum(axis=1)
    reach_M = stdtrit(groups - 1, 0.975) * np.sqrt((groups - 1) / groups * squares_M)
    return [
        Interval(float(mean), float(mean - reach), float(mean + reach))
        for mean, reach in zip(means_M, reach_M, strict=True)
    ]
