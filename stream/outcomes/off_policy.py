"""Off-policy estimates: what a measure would be if one side served every session.

From a log in which each session's side was drawn with a known propensity p: with y a session's sum and
1 where it was on the side asked about, else 0,
  IPS    mean of 1 y / p (Horvitz, Thompson, JASA 1952): unbiased, and loud where p is small;
  SNIPS  IPS divided by the mean of 1 / p (Swaminathan, Joachims, NIPS 2015): a small bias, far quieter;
  DR     mean of q + 1 (y - q) / p (Dudík, Langford, Li, ICML 2011): right where either p or q is, and the
         quieter the better q tells y from what was known before the side was drawn.
q is the mean of y over the side's other sessions of the same stratum, so that no session tells of itself.
The library obp has these, but installs only beside releases of scikit-learn and SciPy without wheels for
Python 3.11; so they are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error over sessions."""

    mean: float
    error: float


def ips(y_T: Values, served_T: npt.NDArray[np.bool_], p_T: Values) -> Estimate:
    """The inverse propensity score.

    >>> ips(np.array([2.0, 9.0]), np.array([True, False]), np.array([0.5, 0.5])).mean
    2.0
    """
    return _mean(served_T * y_T / p_T)


def snips(y_T: Values, served_T: npt.NDArray[np.bool_], p_T: Values) -> Estimate:
    """IPS, self-normalised; its error is of the linearised ratio. NaN without a session of the side."""
    weights_T = served_T / p_T
    if not weights_T.any():
        return Estimate(float("nan"), float("nan"))
    mean = float((weights_T * y_T).sum() / weights_T.sum())
    residuals = _mean(weights_T * (y_T - mean) / weights_T.mean())
    return Estimate(mean, residuals.error)


def doubly_robust(
    y_T: Values, served_T: npt.NDArray[np.bool_], p_T: Values, strata_T: npt.NDArray[np.int64]
) -> Estimate:
    """IPS of what the side's mean in a session's stratum leaves over, plus that mean.

    `strata_T` is what was known of a session before its side was drawn.
    """
    q_T = left_out_means(y_T, served_T, strata_T)
    return _mean(q_T + served_T * (y_T - q_T) / p_T)


def left_out_means(y_T: Values, served_T: npt.NDArray[np.bool_], strata_T: npt.NDArray[np.int64]) -> Values:
    """By session: the mean of y over the side's other sessions of its stratum; 0 without any."""
    _, stratum_T = np.unique(strata_T, return_inverse=True)
    sums_S = np.bincount(stratum_T, served_T * y_T)
    counts_S = np.bincount(stratum_T, served_T.astype(np.float64))
    others_T = counts_S[stratum_T] - served_T
    return np.where(others_T > 0, (sums_S[stratum_T] - served_T * y_T) / np.maximum(others_T, 1), 0.0)


def _mean(values_T: Values) -> Estimate:
    t = len(values_T)
    error = float(values_T.std(ddof=1) / np.sqrt(t)) if t > 1 else float("nan")
    return Estimate(float(values_T.mean()) if t else float("nan"), error)
