import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.freshness.log_refresher import LoggedEvents, LogRefresher
from model.freshness.moving_tables import FreshnessConfig
from model.networks.by_name import build
from model.networks.network import GradientNetwork

KNOWN = 3
HALF_LIFE_S = 60.0
BOTH = FreshnessConfig(True, True, after_sessions=2, half_life_s=HALF_LIFE_S, floor=0.5)
# Items 0, 1, 2 are known at 100 s; 3 is born at 110 s, 4 at 170 s.
SESSIONS = Sessions(
    np.array([0, 2, 4, 7, 9]),
    np.array([0, 1, 1, 3, 2, 3, 4, 0, 4]),
    np.array([40, 100, 105, 110, 120, 130, 170, 171, 200]) * 1000 - 1,
    np.array(["a", "b", "c", "d"]),
)
TRAINED_MS = 100_000


def logged(sessions: Sessions) -> LoggedEvents:
    return LoggedEvents.of(sessions)


@pytest.fixture(params=["tied", "separate"])
def network(request: pytest.FixtureRequest) -> GradientNetwork:
    torch.manual_seed(1)
    config = ModelConfig(hidden_size=4, embedding=request.param, prior_half_lives_s=(60.0,))
    made = build(config, Vocabulary(["a", "b", "c"], np.array([3, 2, 1])))
    assert isinstance(made, GradientNetwork)
    assert made.prior is not None
    with torch.no_grad():
        made.get_parameter("bias_V").normal_()
        made.prior.counts_KV.uniform_()
    return made


def refresher(
    network: GradientNetwork, freshness: FreshnessConfig, sessions: Sessions = SESSIONS
) -> LogRefresher:
    return LogRefresher(network, KNOWN, 5, logged(sessions), TRAINED_MS, freshness)


def counts_at(now_s: int) -> list[float]:
    counts = [0.0] * 5
    for item, time_ms in zip(SESSIONS.items, SESSIONS.times_ms, strict=True):
        if time_ms < now_s * 1000:
            counts[item] += 2 ** (-(now_s * 1000 - time_ms) / 1000 / HALF_LIFE_S)
    return counts


def test_scores_move_with_the_logarithm_of_what_popularity_became(network: GradientNetwork) -> None:
    assert network.prior is not None
    trained = (network.get_parameter("bias_V") + network.prior.bias()).tolist()
    moved = refresher(network, replace(BOTH, new_items=False))
    assert moved.bias_V.tolist() == pytest.approx(trained, abs=1e-5)
    moved.refresh(150_000)
    before, after = counts_at(100), counts_at(150)
    expected = [
        b + math.log(now + 0.5) - math.log(then + 0.5)
        for b, then, now in zip(trained, before, after, strict=False)
    ]
    assert moved.bias_V.tolist() == pytest.approx(expected, abs=1e-4)
    in_steps = refresher(network, replace(BOTH, new_items=False))
    for now_ms in (110_000, 111_000, 150_000):
        in_steps.refresh(now_ms)
    assert in_steps.bias_V.tolist() == pytest.approx(expected, abs=1e-4)


def test_a_new_item_stands_at_the_mean_of_its_known_neighbours(network: GradientNetwork) -> None:
    moved = refresher(network, BOTH)
    moved.refresh(120_000)
    assert not moved.can_step_V[3], "one session has clicked it, two are asked for"
    assert moved.bias_V[3] == -math.inf
    for now_ms in (131_000, 180_000):
        moved.refresh(now_ms)
    assert moved.can_step_V.tolist() == [True, True, True, True, False]
    for rows, name in ((moved.input_VE, network.input_table), (moved.output_VH, network.output_table)):
        table = network.get_parameter(name)
        torch.testing.assert_close(rows[3], (table[1] + table[2]) / 2)
        assert torch.equal(rows[:3], table)
    assert network.prior is not None
    trained = (network.get_parameter("bias_V") + network.prior.bias()).tolist()
    then, now = counts_at(100), counts_at(180)
    own = sum(trained[v] - math.log(then[v] + 0.5) for v in (1, 2)) / 2
    assert float(moved.bias_V[3]) == pytest.approx(own + math.log(now[3] + 0.5), abs=1e-4)


def test_an_item_beside_one_that_is_placed_is_placed_by_it(network: GradientNetwork) -> None:
    moved = refresher(network, replace(BOTH, after_sessions=1))
    for now_ms in (131_000, 170_500):
        moved.refresh(now_ms)
    # 4 was clicked after 2 and 3, and 3 has a row by then.
    table = network.get_parameter(network.output_table)
    placed = (table[1] + table[2]) / 2
    torch.testing.assert_close(moved.output_VH[4], (table[2] + placed) / 2)


def test_without_popularity_only_the_new_items_move(network: GradientNetwork) -> None:
    moved = refresher(network, replace(BOTH, popularity=False))
    before = moved.bias_V.clone()
    moved.refresh(180_000)
    assert torch.equal(moved.bias_V[:3], before[:3])
    assert moved.bias_V[3] > -math.inf


def test_no_event_is_applied_before_its_time(network: GradientNetwork) -> None:
    whole, cut = refresher(network, BOTH), None
    kept = SESSIONS.times_ms < 171_000
    lengths = np.add.reduceat(kept.astype(int), SESSIONS.offsets[:-1])
    earlier = Sessions(
        np.r_[0, np.cumsum(lengths)], SESSIONS.items[kept], SESSIONS.times_ms[kept], SESSIONS.session_ids
    )
    cut = refresher(network, BOTH, earlier)
    whole.refresh(171_000 - 1)
    cut.refresh(171_000 - 1)
    assert torch.equal(whole.bias_V, cut.bias_V)
    assert torch.equal(whole.input_VE, cut.input_VE)
    whole.refresh(201_000)
    assert not torch.equal(whole.bias_V, cut.bias_V)
