"""The estimates agree with the known truth of a simulation, and their errors with their spread."""

import numpy as np
import pytest

from stream.outcomes.off_policy import Estimate, doubly_robust, ips, left_out_means, snips

SESSIONS, RUNS = 2_000, 200
# What a session of each stratum brings if the challenger serves it.
BY_STRATUM = np.array([1.0, 5.0, 20.0])
SHARES = np.array([0.5, 0.3, 0.2])
TRUTH = float(BY_STRATUM @ SHARES)


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums, sides, propensities and strata; the share of the challenger differs by stratum."""
    rng = np.random.default_rng(seed)
    strata = rng.choice(3, SESSIONS, p=SHARES)
    p = np.array([0.1, 0.3, 0.6])[strata]
    served = rng.random(SESSIONS) < p
    # The champion's sessions bring something else, which must not count.
    y = np.where(served, rng.poisson(BY_STRATUM[strata]), 100.0)
    return y.astype(float), served, np.where(served, p, 1 - p), strata


def estimated(name: str, seed: int) -> Estimate:
    y, served, p, strata = simulated(seed)
    if name == "ips":
        return ips(y, served, p)
    if name == "snips":
        return snips(y, served, p)
    # A model that knows nothing is still right, as the propensities are.
    return doubly_robust(y, served, p, strata if name == "dr" else np.zeros_like(strata))


def runs(name: str) -> np.ndarray:
    """The estimates and their errors of many simulations."""
    found = [estimated(name, seed) for seed in range(RUNS)]
    return np.array([(one.mean, one.error) for one in found])


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "dr blind"])
def test_an_estimate_is_near_the_truth_and_knows_its_error(name: str) -> None:
    found = runs(name)
    spread = found[:, 0].std()
    assert abs(found[:, 0].mean() - TRUTH) < 4 * spread / np.sqrt(RUNS) + 0.01
    assert found[:, 1].mean() == pytest.approx(spread, rel=0.2)
    within = np.abs(found[:, 0] - TRUTH) < 1.96 * found[:, 1]
    assert within.mean() > 0.9


def test_the_mean_of_the_sides_sessions_is_biased_where_shares_differ() -> None:
    """What the estimates are for: without propensities the rich stratum counts too much."""
    naive = np.mean([y[served].mean() for y, served, _, _ in map(simulated, range(20))])
    assert naive > TRUTH * 1.3


def test_doubly_robust_is_the_quietest_where_strata_tell() -> None:
    spread = {name: runs(name)[:, 0].std() for name in ("dr", "ips", "snips")}
    assert spread["dr"] < min(spread["ips"], spread["snips"]) / 1.2


def test_no_session_tells_of_itself_and_nothing_is_divided_by_zero() -> None:
    y, served = np.array([1.0, 3.0, 7.0, 4.0]), np.array([True, True, True, False])
    assert left_out_means(y, served, np.array([0, 0, 1, 1])).tolist() == [3.0, 1.0, 0.0, 7.0]
    none = np.zeros(2, np.bool_)
    assert np.isnan(snips(y[:2], none, np.ones(2)).mean)
    assert ips(y[:2], none, np.ones(2)).mean == 0
    empty = np.zeros(0)
    assert np.isnan(ips(empty, np.zeros(0, np.bool_), empty).mean)
