from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import Scoring
from model.errors import NextclickError
from model.networks.network import GradientNetwork
from model.stepping import shortlist
from model.stepping.compiled_top_k import compiled_top_k
from model.stepping.shortlist import Bfloat16Shortlist
from model.stepping.stepper import Stepper
from model.stepping.top_k import top_k
from tests.harness.random_networks import UNITS, assert_exact, model_of, network_of, outputs


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(1, 5000),
    sessions=st.integers(1, 6),
    k=st.integers(1, 25),
    bias=st.sampled_from([0.0, 30.0, -30.0]),
    masked=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_no_item_of_the_exact_list_is_left_out(
    items: int, sessions: int, k: int, bias: float, masked: int, seed: int
) -> None:
    network = network_of(items, seed, bias)
    output = outputs(sessions, seed)
    exclude = None
    if masked:
        with torch.inference_mode():
            best = top_k(network.score(output), min(masked, items))[0]
        exclude = torch.cat([best, torch.full((sessions, 3), -1)], 1)
        exclude[0, 0] = -1
    assert_exact(network, Bfloat16Shortlist(network), output, k, exclude)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[npt.NDArray[np.int64]]:
    """The candidates of each session, of every wave that was selected from."""
    counts: list[npt.NDArray[np.int64]] = []

    def counting(*arguments: Any) -> Any:
        selected = compiled_top_k(*arguments)
        counts.append(selected[2])
        return selected

    monkeypatch.setattr(shortlist, "compiled_top_k", counting)
    return counts


def test_only_a_few_items_are_candidates(counted: list[npt.NDArray[np.int64]]) -> None:
    Bfloat16Shortlist(network_of(20_000)).best(outputs(64), 20)
    assert counted[0].min() >= 20
    assert counted[0].max() <= 64


def test_scores_that_are_all_equal_are_scored_whole() -> None:
    network = network_of(5000)
    torch.nn.init.zeros_(network.get_parameter("item_VH"))
    torch.nn.init.zeros_(network.get_parameter("bias_V"))
    short = Bfloat16Shortlist(network)
    assert_exact(network, short, outputs(3), 20, None)
    assert short.scored_whole == 3


def test_a_session_that_is_scored_whole_leaves_the_others_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
    counted: list[npt.NDArray[np.int64]],
) -> None:
    network = network_of(5000)
    output = outputs(16)
    output[::5] = 0
    Bfloat16Shortlist(network).best(output, 20)
    monkeypatch.setattr(shortlist, "MOST_CANDIDATES", int(np.median(counted[0])))
    short = Bfloat16Shortlist(network)
    assert_exact(network, short, output, 20, None)
    assert 0 < short.scored_whole < 16


def test_a_prior_that_moves_moves_the_candidates() -> None:
    network = network_of(4000, prior_half_lives_s=(60.0,))
    assert network.prior is not None
    short = Bfloat16Shortlist(network)
    assert_exact(network, short, outputs(4), 20, None)
    hot = np.repeat(np.arange(100, 130), 50)
    network.prior.advance(hot, np.full(len(hot), 1000), 1000)
    with torch.no_grad():
        network.prior.weight_K.fill_(20)
    assert_exact(network, short, outputs(4), 20, None)
    assert set(short.best(outputs(4), 20)[0].flatten().tolist()) <= set(range(100, 130))


def test_a_stepper_that_is_exact_follows_a_prior_that_moves() -> None:
    model = model_of(3000, prior_half_lives_s=(60.0,))
    assert isinstance(model.network, GradientNetwork) and model.network.prior is not None
    stepper = Stepper(model, device="cpu")
    stepper.warm_up()
    model.network.prior.advance(np.full(10_000, 7), np.full(10_000, 1000), 1000)
    with torch.no_grad():
        model.network.prior.weight_K.fill_(20)
    model.network.prior.advance(np.array([7]), np.array([2000]), 2000)
    ids, _, _ = stepper.step({"item": np.array([1])}, stepper.initial_rows(1))
    assert ids[0, 0] == 7


@pytest.mark.parametrize("bias", [0.0, -30.0])
@pytest.mark.parametrize("scoring", ["exact", "bfloat16"])
def test_a_deterministic_list_does_not_depend_on_the_neighbours(scoring: Scoring, bias: float) -> None:
    model = model_of(6000, bias=bias)
    stepper = Stepper(model, device="cpu", wave_size=64, deterministic=True, scoring=scoring)
    rng = np.random.default_rng(3)
    items = rng.integers(0, 6000, 150)
    rows = rng.normal(size=(150, UNITS)).astype(np.float32).view(np.uint8)
    exclude = rng.integers(-1, 6000, (150, 9))
    whole = stepper.step({"item": items}, rows, exclude)
    subsets: list[list[int]] = [[0], [149], list(range(7)), rng.permutation(150).tolist()]
    for chosen in [*subsets, subsets[3][:64], subsets[3][-33:]]:
        some = stepper.step({"item": items[chosen]}, rows[chosen], exclude[chosen])
        for part in range(3):
            np.testing.assert_array_equal(some[part], whole[part][chosen])


def test_stepping_in_bfloat16_gives_the_exact_lists_and_the_same_states() -> None:
    model = model_of(9000)
    rng = np.random.default_rng(4)
    items = rng.integers(0, 9000, 50)
    rows = rng.normal(size=(50, UNITS)).astype(np.float32).view(np.uint8)
    exact = Stepper(model, device="cpu").step({"item": items}, rows)
    short = Stepper(model, device="cpu", scoring="bfloat16").step({"item": items}, rows)
    np.testing.assert_allclose(short[1], exact[1], rtol=1e-4, atol=1e-5)
    assert (short[0] == exact[0]).mean() > 0.99
    np.testing.assert_array_equal(short[2], exact[2])


def test_a_baseline_has_no_table_to_search() -> None:
    model = model_of(30, network="pop")
    assert Stepper(model, device="cpu", scoring="bfloat16").shortlist is None
    with pytest.raises(NextclickError, match="Pop on cpu"):
        Stepper(model, device="cpu", scoring="approximate")
