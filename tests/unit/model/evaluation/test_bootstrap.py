import numpy as np
import pytest

from model.evaluation.intervals import Interval, resampled_means


def test_every_draw_is_a_mean_over_whole_sessions() -> None:
    # One session of one target that is hit, one of three that are missed.
    means = resampled_means(np.array([[1.0, 0.0]]), np.array([1.0, 3.0]), resamples=500)
    assert set(np.round(means[0], 9)) == {0.0, 0.25, 1.0}
    assert (means == 0.25).mean() == pytest.approx(0.5, abs=0.1)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
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
