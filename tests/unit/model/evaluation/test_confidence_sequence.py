import math

import numpy as np
import pytest

from model.evaluation.confidence_sequence import PairedDifference, SessionTally


def follow(first: float, second: float, sessions: int, seed: int, start: int = 100) -> bool:
    """Whether the interval ever excludes the true difference, looked at after every session from `start` on.

    Sessions differ in how easy they are, and the two are right about the same events mostly.
    """
    rng = np.random.default_rng(seed)
    difference = PairedDifference()
    for session in range(sessions):
        tally, ease = SessionTally(), rng.choice([0.5, 1.5])
        for _ in range(1 + rng.geometric(0.4)):
            luck = rng.random()
            difference.add(tally, luck < first * ease, luck < second * ease)
        interval = difference.interval()
        if session >= start and not interval.low <= second - first <= interval.high:
            return True
    return False


def test_equal_systems_are_told_apart_at_any_time_about_as_seldom_as_said() -> None:
    rng = np.random.default_rng(1)

    def ever(seed: int) -> bool:
        draw = np.random.default_rng(seed)
        difference = PairedDifference()
        for session in range(1500):
            tally = SessionTally()
            for _ in range(1 + draw.geometric(0.4)):
                difference.add(tally, draw.random() < 0.4, draw.random() < 0.4)
            interval = difference.interval()
            if session >= 100 and not interval.low <= 0 <= interval.high:
                return True
        return False

    assert sum(ever(int(seed)) for seed in rng.integers(1 << 30, size=60)) <= 6


def test_the_true_difference_is_held_at_all_times() -> None:
    assert sum(follow(0.4, 0.3, 1000, seed) for seed in range(40)) <= 5


def test_a_worse_system_is_found_out_in_time() -> None:
    rng = np.random.default_rng(5)
    difference = PairedDifference()
    for _ in range(1000):
        tally = SessionTally()
        for _ in range(4):
            difference.add(tally, rng.random() < 0.5, rng.random() < 0.3)
        if difference.interval().high < 0:
            break
    assert 10 < difference.sessions < 300
    assert difference.means == pytest.approx((0.5, 0.3), abs=0.1)


def test_the_sums_are_those_of_the_sessions_however_their_events_interleave() -> None:
    rng = np.random.default_rng(2)
    tallies = [SessionTally() for _ in range(30)]
    difference = PairedDifference()
    for _ in range(400):
        tally = tallies[rng.integers(30)]
        difference.add(tally, float(rng.random() < 0.5), float(rng.random() < 0.6))
    events = np.array([tally.events for tally in tallies])
    differences = np.array([tally.second - tally.first for tally in tallies])
    mean = differences.sum() / events.sum()
    interval = difference.interval()
    assert interval.mean == pytest.approx(mean)
    deviation = np.sqrt(np.mean((differences - mean * events) ** 2)) / events.mean()
    rho_squared = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 1000
    grown = 30 * rho_squared + 1
    width = deviation * math.sqrt(2 * grown / (900 * rho_squared) * math.log(math.sqrt(grown) / 0.05))
    assert interval.high - interval.mean == pytest.approx(width)
    assert difference.sessions == 30


def test_without_sessions_nothing_is_sure() -> None:
    interval = PairedDifference().interval()
    assert (interval.low, interval.high) == (-math.inf, math.inf)
