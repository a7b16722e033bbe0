"""Intervals for means over next events, from sums of groups of sessions: kept online, and added up.

Every session belongs to one of G groups, by its hash; leaving one group out at a time shows how
much the mean depends on the sessions that it happened to see. The delete-a-group jackknife: Kott,
Journal of Official Statistics 17 (4), 2001. Where all events are at hand, model/evaluation/bootstrap.py draws
whole sessions; here G sums stand for them, so that the sums of workers and of times can be added.

Shapes: M measures, G groups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from model.evaluation.bootstrap import Interval

Floats = npt.NDArray[np.float64]


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
