"""The user-based GRUs as networks: blocks and steps, whose user an event belongs to, unknown users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.features import Features
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.networks.user_gru import UserGRU
from model.stepping.stepper import Stepper
from model.training.gradient_step import GradientStep
from model.training.learned_targets import Targets
from model.training.negative_sampling import NegativeSampler
from model.training.replicas import Replicas

ITEMS, USERS, UNITS = 9, 6, 5
NAMES = ["user-gru-linear", "user-gru-rectified", "user-gru-attentional"]
FEATURES = Features({"user_id": [f"u{n}" for n in range(USERS)]})
VOCABULARY = Vocabulary([f"i{n}" for n in range(ITEMS)], np.arange(ITEMS, 0, -1), features=FEATURES)
# Six lanes of these lengths as steps of a packed block, and a lane of one step.
SIZES = torch.tensor([6, 5, 5, 2, 1])


def network_of(name: str, **settings: Any) -> UserGRU:
    torch.manual_seed(2)
    config = {"network": name, "hidden_size": UNITS, "embedding": "separate", "user_gate": 0.4, **settings}
    network = build(ModelConfig.model_validate(config), VOCABULARY)
    assert isinstance(network, UserGRU)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.7)
    network.finalize()
    return network.eval()


def block() -> tuple[torch.Tensor, torch.Tensor]:
    """Items and users of a packed block; the first lane's user is told late, the second's once."""
    generator = torch.Generator().manual_seed(3)
    count = int(SIZES.sum())
    item_N = torch.randint(ITEMS, (count,), generator=generator)
    user_N = torch.randint(USERS, (count,), generator=generator)
    first, second = [0, 6, 11, 16, 18], [1, 7, 12, 17]
    user_N[first], user_N[second] = torch.tensor([-1, -1, 4, -1, -1]), torch.tensor([2, -1, -1, -1])
    return item_N, user_N


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_block_is_the_steps_that_serve(name: str, layers: int) -> None:
    network = network_of(name, layers=layers)
    item_N, user_N = block()
    state = network.initial_state(len(SIZES) + 1)
    state["hidden"].normal_(generator=torch.Generator().manual_seed(4))
    inputs = network.complete_inputs({"item": item_N, "user_id": user_N}, SIZES, state)
    # Index -1 reads the last row, the mean.
    users = torch.cat([network.user_YH, network.mean_user_YH[None]])
    rows = {"user_YH": users[inputs["user_id"]]}
    table = network.get_parameter(network.input_table)
    packed_NH, after = network.run_block({**inputs, **rows}, table[item_N], SIZES, state)
    at = 0
    stepped = state
    for size in SIZES.tolist():
        now = slice(at, at + size)
        before = {key: tensor[:size] for key, tensor in stepped.items()}
        columns = {"item": item_N[now], "user_id": user_N[now]}
        output_BH, moved = network.advance(columns, before)
        torch.testing.assert_close(packed_NH[now], output_BH)
        stepped = {key: torch.cat([moved[key], tensor[size:]]) for key, tensor in stepped.items()}
        at += size
    for key, tensor in stepped.items():
        torch.testing.assert_close(after[key], tensor)
    assert after["user"][:2, 0].tolist() == [4, 2]


@torch.no_grad()
def test_scores_are_an_affine_map_of_the_hidden_state() -> None:
    # Equation 1.
    network = network_of("user-gru-attentional")
    columns = {"item": torch.tensor([3, 1]), "user_id": torch.tensor([0, 5])}
    scores, state = network.step(columns, network.initial_state(2))
    assert isinstance(scores, torch.Tensor)
    expected = network.item_VH @ state["hidden"][:, 0].T + network.bias_V[:, None]
    torch.testing.assert_close(scores, expected.T)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_another_user_gets_other_scores_and_an_unknown_one_those_of_the_mean_user(name: str) -> None:
    network = network_of(name)
    state = network.initial_state(3)
    scores, _ = network.step({"item": torch.tensor([1, 1, 1]), "user_id": torch.tensor([0, 3, -1])}, state)
    assert isinstance(scores, torch.Tensor)
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)
    network.user_YH[0] = network.user_YH.mean(0)
    moved, _ = network.step(
        {"item": torch.tensor([1]), "user_id": torch.tensor([0])}, network.initial_state(1)
    )
    torch.testing.assert_close(moved[0], scores[2])


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_without_users_everybody_is_the_unknown_user_in_steps_and_in_blocks(name: str) -> None:
    control, network = network_of(name, without_users=True), network_of(name)
    columns = {"item": torch.tensor([1, 1]), "user_id": torch.tensor([0, 3])}
    nobody = {**columns, "user_id": torch.tensor([-1, -1])}
    scores, state = control.step(columns, control.initial_state(2))
    expected, _ = network.step(nobody, network.initial_state(2))
    assert isinstance(scores, torch.Tensor)
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(scores, expected)
    assert state["user"].tolist() == [[-1], [-1]]
    item_N, user_N = block()
    inputs = {"item": item_N, "user_id": user_N}
    completed = control.complete_inputs(inputs, SIZES, control.initial_state(len(SIZES)))
    assert set(completed["user_id"].tolist()) == {-1}


def test_without_users_training_moves_no_user_s_vector() -> None:
    network = network_of("user-gru-linear", without_users=True).train()
    config = ModelConfig(network="user-gru-linear", hidden_size=UNITS, optimizer="adam", without_users=True)
    sampler = NegativeSampler(VOCABULARY.counts, 0.75, 8, np.random.default_rng(0))
    step = GradientStep(network, VOCABULARY, config, sampler, Replicas())
    users, items = network.user_YH.detach().clone(), network.item_VH.detach().clone()
    inputs = {"item": torch.tensor([1, 2]), "user_id": torch.tensor([3, 5])}
    step.learn(inputs, Targets(torch.tensor([6, 7])), torch.tensor([2]), network.initial_state(2), 2)
    assert torch.equal(network.user_YH, users)
    assert not torch.equal(network.item_VH, items)


def test_training_learns_of_a_session_s_user_from_events_that_do_not_name_one() -> None:
    network = network_of("user-gru-linear").train()
    config = ModelConfig(network="user-gru-linear", hidden_size=UNITS, optimizer="adam", user_l2=0.01)
    sampler = NegativeSampler(VOCABULARY.counts, 0.75, 8, np.random.default_rng(0))
    step = GradientStep(network, VOCABULARY, config, sampler, Replicas())
    state = network.initial_state(2)
    state["user"][:, 0] = torch.tensor([3, -1])
    before = network.user_YH.detach().clone()
    inputs = {"item": torch.tensor([1, 2, 4]), "user_id": torch.tensor([-1, -1, 5])}
    # Two lanes of which the first has two steps, the second of them another user's.
    learned = step.learn(inputs, Targets(torch.tensor([6, 7, 8])), torch.tensor([2, 1]), state, 3)
    changed = (network.user_YH.detach() != before).any(1)
    assert changed.tolist() == [False, False, False, True, False, True]
    assert learned.state["user"][:, 0].tolist() == [5, -1]


@torch.no_grad()
def test_the_mean_user_is_saved_with_the_weights() -> None:
    network = network_of("user-gru-linear")
    assert "mean_user_YH" in network.state_dict()
    torch.testing.assert_close(network.mean_user_YH, network.user_YH.mean(0))


def test_a_packed_session_keeps_its_user_for_events_without_one() -> None:
    network = network_of("user-gru-linear")
    config = ModelConfig(network="user-gru-linear", hidden_size=UNITS)
    stepper = Stepper(ModelVersion("v", config, VOCABULARY, network, {}, {}), device="cpu")

    def walk(users: list[str | None]) -> list[Any]:
        rows, lists = stepper.initial_rows(1), []
        for item, user in enumerate(users):
            columns = {"item": np.array([item]), "user_id": np.array([user], object)}
            _, scores, rows = stepper.step(columns, rows)
            lists.append(scores.tobytes())
        history = {"item": np.arange(len(users)), "user_id": np.array(users, object)}
        assert stepper.rebuild([history]).tobytes() == rows.tobytes()
        return lists

    told = walk(["u1", "u1", "u1"])
    assert walk(["u1", None, None]) == told
    assert walk(["u1", "never-seen", None]) == told
    assert walk(["u1", "u2", None]) == walk(["u1", "u2", "u2"]) != told
    assert walk([None, None, "u1"]) != told
    assert walk([None, "never-seen", None]) == walk(["never-seen", None, None])


def test_the_tables_are_the_only_parameters_kept_from_dense_updates() -> None:
    for name in NAMES:
        for embedding in ("separate", "tied"):
            network = network_of(name, embedding=embedding)
            tables = {"item_VH", "bias_V", "user_YH"} | ({"input_VH"} if embedding == "separate" else set())
            learning = {
                key for key, p in network.named_parameters() if not key.startswith("cells.0.threshold_")
            }
            assert network.dense_parameters().keys() == learning - tables


def test_dropout_of_items_and_of_users_acts_in_training_only() -> None:
    for dropout in ("dropout_embedding", "dropout_user", "dropout_hidden"):
        network = network_of("user-gru-attentional", **{dropout: 0.5})
        inputs = {"item": torch.tensor([1, 2]), "user_id": torch.tensor([0, 1])}
        state = network.initial_state(2)
        first, second = (network.advance(inputs, state)[0] for _ in range(2))
        torch.testing.assert_close(first, second)
        network.train()
        first, second = (network.advance(inputs, state)[0] for _ in range(2))
        assert not torch.equal(first, second)


@pytest.mark.parametrize("wrong", [{"embedding": "one-hot"}, {"embedding_size": 7}])
def test_vectors_that_the_equations_cannot_hold_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NextclickError, match=next(iter(wrong))):
        network_of("user-gru-linear", **wrong)
