import math

import numpy as np
import pytest

from model.evaluation.intervals import Floats, Interval, grouped_intervals, resampled_means

GROUPS = 50


def sessions(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Hits and events of sessions, of which some are easy and some are hard; the true mean is 0.5."""
    counts = rng.integers(1, 6, size=count).astype(float)
    hits = rng.binomial(counts.astype(int), rng.choice([0.1, 0.9], size=count)).astype(float)
    return hits, counts


def grouped(values: Floats, groups: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    return np.bincount(groups, values, minlength=GROUPS).astype(np.float64)


@pytest.mark.parametrize("count", [100, 400, 3000])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(count: int) -> None:
    rng = np.random.default_rng(count)
    held = 0
    for _ in range(400):
        hits, counts = sessions(rng, count)
        groups = rng.integers(GROUPS, size=count)
        [interval] = grouped_intervals(grouped(hits, groups)[None], grouped(counts, groups))
        held += interval.low <= 0.5 <= interval.high
    # Five standard errors of 400 trials around 95 %.
    assert 0.895 <= held / 400 <= 1


def test_it_is_as_wide_as_the_bootstrap_over_sessions_and_wider_than_one_over_events() -> None:
    rng = np.random.default_rng(5)
    widths, bootstrap_widths, naive_widths = [], [], []
    for seed in range(30):
        hits, counts = sessions(rng, 2000)
        groups = rng.integers(GROUPS, size=2000)
        [interval] = grouped_intervals(grouped(hits, groups)[None], grouped(counts, groups))
        draws = resampled_means(hits[None], counts, resamples=300, seed=seed)[0]
        drawn = Interval.of(hits.sum() / counts.sum(), draws)
        assert interval.mean == pytest.approx(drawn.mean)
        widths.append(interval.high - interval.low)
        bootstrap_widths.append(drawn.high - drawn.low)
        naive_widths.append(2 * 1.96 * math.sqrt(interval.mean * (1 - interval.mean) / counts.sum()))
    assert np.mean(widths) == pytest.approx(np.mean(bootstrap_widths), rel=0.08)
    assert np.mean(widths) > 1.3 * np.mean(naive_widths)


def test_without_two_groups_there_is_a_mean_and_no_interval() -> None:
    [interval] = grouped_intervals(np.array([[3.0, 0.0]]), np.array([4.0, 0.0]))
    assert interval.mean == 0.75
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    [nothing] = grouped_intervals(np.zeros((1, 2)), np.zeros(2))
    assert math.isnan(nothing.mean)


def test_empty_groups_change_nothing() -> None:
    sums, counts = np.array([[1.0, 2.0, 0.0]]), np.array([2.0, 3.0, 4.0])
    more = np.pad(sums, ((0, 0), (0, 40))), np.pad(counts, (0, 40))
    assert grouped_intervals(*more) == grouped_intervals(sums, counts)


def test_every_draw_is_a_mean_over_whole_sessions() -> None:
    # One session of one target that is hit, one of three that are missed.
    means = resampled_means(np.array([[1.0, 0.0]]), np.array([1.0, 3.0]), resamples=500)
    assert set(np.round(means[0], 9)) == {0.0, 0.25, 1.0}
    assert (means == 0.25).mean() == pytest.approx(0.5, abs=0.1)


def test_the_interval_of_draws_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for trial in range(100):
        counts = rng.integers(1, 6, size=200).astype(float)
        # Sessions differ in how easy they are: their events hang together.
        hits = rng.binomial(counts.astype(int), rng.choice([0.1, 0.9], size=200)).astype(float)
        draws = resampled_means(hits[None], counts, resamples=300, seed=trial)[0]
        interval = Interval.of(hits.sum() / counts.sum(), draws)
        held += interval.low <= 0.5 <= interval.high
    assert 88 <= held <= 100


def test_models_are_measured_on_the_same_draws() -> None:
    rng = np.random.default_rng(4)
    counts = np.ones(300)
    hits = rng.integers(0, 2, size=300).astype(float)
    better = hits.copy()
    better[:3] = 1 - better[:3] * 0
    means = resampled_means(np.stack([hits, better]), counts)
    alone = Interval.of(0, means[1])
    paired = Interval.of(0, means[1] - means[0])
    assert paired.high - paired.low < (alone.high - alone.low) / 3
