"""95 % intervals of means over next events, with whole sessions as the unit of sampling.

`resampled_means` resamples sessions where all events are in memory (Field, Welsh: Bootstrapping
clustered data, JRSS B 2007). All models are measured on the same draws, so that the difference of two
models is paired. `grouped_intervals` works from sums that are kept online: a session's hash assigns it
to one of G groups, and leaving out one group at a time shows how much the mean depends on the group
(delete-a-group jackknife: Kott, Journal of Official Statistics 17 (4), 2001). The sums of several
workers may be added first.

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
    """A mean and its 95 % interval.

    >>> f"{Interval(0.5, 0.25, 0.75):.2f}"
    '0.50 [0.25, 0.75]'
    """

    mean: float
    low: float
    high: float

    def __format__(self, number_format: str) -> str:
        """Returns the mean with its interval in brackets, each number in the given format."""
        mean, low, high = (format(number, number_format) for number in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def hundredths(self) -> Interval:
        """Returns the same interval in hundredths."""
        return Interval(100 * self.mean, 100 * self.low, 100 * self.high)

    @property
    def says_little(self) -> bool:
        """Whether it is of too few targets to mean anything: wider than half of the mean, or of a mean of 0.

        >>> Interval(0.4, 0.35, 0.45).says_little, Interval(0.4, 0.2, 0.6).says_little
        (False, True)
        """
        return not (self.mean > 0 and self.high - self.low <= self.mean / 2)

    @classmethod
    def of_share(cls, share: float, targets: int) -> Interval:
        """Returns the 95 % interval of a share of independent targets (Wilson, JASA 1927).

        Targets of one session are alike, so the true interval is wider.

        >>> f"{Interval.of_share(0.5, 100):.2f}"
        '0.50 [0.40, 0.60]'
        """
        z = 1.959964
        centre = (share + z**2 / (2 * targets)) / (1 + z**2 / targets)
        reach = z / (1 + z**2 / targets) * (share * (1 - share) / targets + z**2 / (4 * targets**2)) ** 0.5
        return cls(share, centre - reach, centre + reach)

    @classmethod
    def of(cls, mean: float, resampled_R: Floats) -> Interval:
        """Returns the percentile interval of the resampled means."""
        low, high = np.quantile(resampled_R, [0.025, 0.975])
        return cls(float(mean), float(low), float(high))


def resampled_means(
    sums_MS: Floats, counts_S: Floats, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Returns means of `resamples` draws of S sessions with replacement, M×R: each draw's Σ sums / Σ counts.

    `sums_MS` holds a measure's sum over each session's targets, `counts_S` their number.

    >>> resampled_means(np.array([[1.0, 2.0]]), np.array([2.0, 4.0]), resamples=3).tolist()
    [[0.5, 0.5, 0.5]]
    """
    rng = np.random.default_rng(seed)
    sessions = len(counts_S)
    means = np.empty((len(sums_MS), resamples))
    for r in range(resamples):
        drawn_S = np.bincount(rng.integers(sessions, size=sessions), minlength=sessions)
        means[:, r] = sums_MS @ drawn_S / np.maximum(counts_S @ drawn_S, 1)
    return means


def grouped_intervals(sums_MG: Floats, counts_G: Floats) -> list[Interval]:
    """Returns Σ sums / Σ counts of each measure with its 95 % interval, by Student's t.

    θ is the mean, θ_g the mean without group g: var θ = (G - 1) / G · Σ_g (θ_g - θ)², over the groups
    that have events. The mean is NaN without events; the ends are NaN when fewer than two groups have
    events.

    >>> grouped_intervals(np.array([[1.0, 2.0]]), np.array([2.0, 4.0]))
    [Interval(mean=0.5, low=0.5, high=0.5)]
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
