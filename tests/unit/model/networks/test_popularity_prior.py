import math

import numpy as np
import pytest
import torch

from model.data.sessions import Sessions
from model.networks.popularity_prior import FLOOR, EventClock, PopularityPrior

ITEMS = np.array([0, 1, 1, 2])
TIMES_MS = np.array([0, 60_000, 120_000, 180_000])


def test_counts_halve_with_every_half_life_that_passes() -> None:
    prior = PopularityPrior((60.0, 120.0), 3)
    prior.restart(0)
    prior.advance(ITEMS, TIMES_MS, 180_000)
    expected = [[1 / 8, 1 / 4 + 1 / 2, 1], [2**-1.5, 2**-1 + 2**-0.5, 1]]
    torch.testing.assert_close(prior.counts_KV, torch.tensor(expected))
    prior.advance(ITEMS[:0], TIMES_MS[:0], 300_000)
    torch.testing.assert_close(prior.counts_KV[0], torch.tensor(expected[0]) / 4)


def test_the_bias_is_the_weighted_log_of_the_counts() -> None:
    prior = PopularityPrior((60.0, 120.0), 3)
    prior.advance(ITEMS, TIMES_MS, 180_000)
    with torch.no_grad():
        prior.weight_K.copy_(torch.tensor([0.5, 2.0]))
        first, second = prior.counts_KV[:, 1].tolist()
        expected = 0.5 * math.log(first + FLOOR) + 2 * math.log(second + FLOOR)
        assert prior.bias()[1].item() == pytest.approx(expected, rel=1e-5)
        assert prior.bias(torch.tensor([1, 1])).tolist() == pytest.approx([expected] * 2, rel=1e-5)


def test_time_does_not_run_back() -> None:
    prior = PopularityPrior((60.0,), 3)
    prior.restart(1000)
    with pytest.raises(ValueError, match="before the last event"):
        prior.advance(ITEMS[:1], TIMES_MS[:1], 0)


def test_the_clock_counts_each_event_once_however_it_is_moved() -> None:
    shuffled = np.array([2, 0, 3, 1])
    prior, whole = PopularityPrior((60.0,), 3), PopularityPrior((60.0,), 3)
    # Sessions 2 | 0 3 | 1: the last one begins at the second event.
    log = Sessions(np.array([0, 1, 3, 4]), ITEMS[shuffled], TIMES_MS[shuffled], np.zeros(3))
    clock = EventClock(prior, log)
    clock.restart(keep=False)
    for now_ms in (0, 60_000, 59_000, 60_001, 150_000):
        clock.advance_to(now_ms)
    whole.advance(ITEMS[:3], TIMES_MS[:3], 150_000)
    torch.testing.assert_close(prior.counts_KV, whole.counts_KV)


def test_the_clock_ends_where_the_last_session_begins() -> None:
    # One long session goes on for an hour after the log's other sessions have begun.
    times = np.array([0, 3_600_000, 30_000, 40_000, 60_000, 70_000])
    log = Sessions(np.array([0, 2, 4, 6]), np.array([0, 1, 2, 2, 1, 1]), times, np.zeros(3))
    prior = PopularityPrior((60.0,), 3)
    clock = EventClock(prior, log)
    clock.restart(keep=False)
    clock.advance_to_end()
    assert int(prior.now_ms) == 60_000
    expected = [0.5, 0, 2**-0.5 + 2 ** (-1 / 3)]
    torch.testing.assert_close(prior.counts_KV[0], torch.tensor(expected))


def test_a_later_log_goes_on_with_the_counts_and_an_earlier_one_begins_anew() -> None:
    prior = PopularityPrior((60.0,), 3)
    prior.advance(ITEMS, TIMES_MS, 180_000)

    def one_event(time_ms: int) -> Sessions:
        return Sessions(np.array([0, 1]), np.array([0]), np.array([time_ms]), np.zeros(1))

    later = EventClock(prior, one_event(240_000))
    later.restart(keep=True)
    assert prior.counts_KV[0, 2].item() == pytest.approx(0.5)
    EventClock(prior, one_event(5)).restart(keep=True)
    assert (prior.counts_KV == 0).all()
    assert int(prior.now_ms) == 5
