"""Learning from blocks of steps, against torch's own gradients of the whole tables."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model.config import ModelConfig
from model.data.features import Features
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.network import NO_COLUMNS, Columns, GradientNetwork, State, StateField
from model.training.gradient_step import GradientStep, Learned
from model.training.learned_targets import Targets
from model.training.negative_sampling import NegativeSampler
from model.training.replicas import Replicas
from model.training.train import train
from tests.harness.markov_shoppers import markov_shoppers

ITEMS = 7
VOCABULARY = Vocabulary([f"i{n}" for n in range(ITEMS)], np.arange(ITEMS, 0, -1))
PLAIN = {"hidden_size": 5, "loss": "full-cross-entropy", "optimizer": "momentum", "learning_rate": 1.0}
# Three lanes of 3, 2 and 1 steps.
SIZES = torch.tensor([3, 2, 1])
INPUT, TARGET = torch.tensor([0, 1, 2, 3, 1, 6]), torch.tensor([3, 1, 5, 6, 2, 0])


def step_of(network: GradientNetwork, config: ModelConfig) -> GradientStep:
    sampler = NegativeSampler(VOCABULARY.counts, config.alpha, config.negatives, np.random.default_rng(1))
    return GradientStep(network, VOCABULARY, config, sampler, Replicas())


def learn(network: GradientNetwork, config: ModelConfig, state: State, **columns: Tensor) -> Learned:
    inputs = {"item": INPUT, **columns}
    return step_of(network, config).learn(inputs, Targets(TARGET), SIZES, state, len(INPUT))


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_the_gradient_of_a_block_flows_back_through_its_steps_and_not_beyond(embedding: str) -> None:
    config = ModelConfig(**{**PLAIN, "embedding": embedding, "layers": 2})
    network = build(config, VOCABULARY)
    assert isinstance(network, GradientNetwork)
    whole = copy.deepcopy(network)
    before = {"hidden": torch.randn(3, 2, 5)}
    learned = learn(network, config, dict(before))
    table, outputs, states = whole.get_parameter(whole.input_table), [], []
    state, at = before, 0
    for size in SIZES.tolist():
        states.append({name: tensor[size:] for name, tensor in state.items()})
        state = {name: tensor[:size] for name, tensor in state.items()}
        output, state = whole.run(table[INPUT[at : at + size]], state)
        outputs.append(output)
        at += size
    states.append(state)
    scores = torch.cat(outputs) @ whole.get_parameter(whole.output_table).t()
    scores = scores + whole.get_parameter(whole.bias_table)
    loss = cross_entropy(scores, TARGET)
    torch.autograd.backward(loss)
    assert learned.loss == pytest.approx(float(loss.detach()))
    assert learned.hits == int((scores.argmax(1) == TARGET).sum())
    last = torch.cat([part["hidden"] for part in reversed(states)])
    torch.testing.assert_close(learned.state["hidden"], last.detach())
    assert not learned.state["hidden"].requires_grad
    for name, parameter in whole.named_parameters():
        assert parameter.grad is not None
        expected = parameter.detach() - parameter.grad
        torch.testing.assert_close(network.get_parameter(name).detach(), expected, msg=name)


@pytest.mark.parametrize("loss", ["full-cross-entropy", "cross-entropy", "bpr-max"])
def test_a_gradient_longer_than_the_clip_norm_is_cut_to_it(loss: str) -> None:
    settings: dict[str, Any] = {**PLAIN, "loss": loss, "negatives": 20, "embedding": "separate"}
    moved = {}
    for clip_norm in (None, 1e6, 0.01):
        torch.manual_seed(0)
        config = ModelConfig(**settings, clip_norm=clip_norm)
        network = build(config, VOCABULARY)
        assert isinstance(network, GradientNetwork)
        before = copy.deepcopy(network)
        learn(network, config, network.initial_state(3))
        moved[clip_norm] = torch.cat(
            [
                (p - q).detach().flatten()
                for p, q in zip(network.parameters(), before.parameters(), strict=True)
            ]
        )
    assert moved[None].norm() > 0.05
    assert torch.equal(moved[1e6], moved[None])
    assert moved[0.01].norm() == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(moved[0.01] / 0.01, moved[None] / moved[None].norm(), rtol=1e-3, atol=1e-5)


class Visitor(GradientNetwork):
    """Scores by the item's vector plus the user's; with `by_distance` it learns by a loss of its own."""

    columns = ("item", "user_id")
    input_table, output_table, bias_table = "item_VH", "item_VH", "bias_V"

    def __init__(self, users: int, by_distance: bool = False) -> None:
        super().__init__()
        self.items = ITEMS
        self.item_VH = nn.Parameter(torch.randn(ITEMS, 4), requires_grad=not by_distance)
        self.bias_V = nn.Parameter(torch.zeros(ITEMS))
        self.mix = nn.Linear(4, 4)
        with torch.no_grad():
            self.add_row_table("user_UE", "user_id", users, 4).normal_()
        self.has_own_loss = by_distance

    def state_fields(self) -> tuple[StateField, ...]:
        return ()

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        return self.mix(rows_BE) + inputs["user_UE"], state

    def own_loss(self, output_NH: Tensor, target_N: Tensor) -> Tensor:
        return (output_NH - self.item_VH[target_N]).square().mean()


USERS = torch.tensor([2, 0, -1, 2, 0, 2])


def test_rows_of_a_further_table_learn_where_they_are_read_and_missing_ones_read_the_mean() -> None:
    network = Visitor(4)
    network.finalize()
    whole = copy.deepcopy(network)
    mean = network.get_buffer("mean_user_UE").clone()
    torch.testing.assert_close(mean, network.get_parameter("user_UE").detach().mean(0))
    learn(network, ModelConfig(**PLAIN), {}, user_id=USERS)
    table = whole.get_parameter("user_UE")
    rows = torch.stack([table[user] if user >= 0 else mean for user in USERS.tolist()])
    output, _ = whole.run(whole.item_VH[INPUT], {}, {"user_UE": rows})
    torch.autograd.backward(cross_entropy(output @ whole.item_VH.t() + whole.bias_V, TARGET))
    assert table.grad is not None
    torch.testing.assert_close(network.get_parameter("user_UE").detach(), table.detach() - table.grad)
    assert table.grad[[1, 3]].abs().sum() == 0 and (table.grad[[0, 2]].abs().sum(1) > 0).all()
    assert torch.equal(network.get_buffer("mean_user_UE"), mean)


def test_a_step_reads_the_rows_that_training_learned_and_the_mean_for_the_unknown() -> None:
    network = Visitor(4).eval()
    network.finalize()
    output, _ = network.advance({"item": INPUT, "user_id": USERS}, {})
    table, mean = network.get_parameter("user_UE"), network.get_buffer("mean_user_UE")
    rows = torch.stack([table[user] if user >= 0 else mean for user in USERS.tolist()])
    torch.testing.assert_close(output, network.mix(network.item_VH[INPUT]) + rows)


def test_user_l2_draws_the_vectors_that_are_read_towards_nothing() -> None:
    networks = []
    for user_l2 in (0.0, 0.5):
        torch.manual_seed(0)
        network = Visitor(4)
        before = network.get_parameter("user_UE").detach().clone()
        learn(network, ModelConfig(**PLAIN, user_l2=user_l2), {}, user_id=USERS)
        networks.append(network.get_parameter("user_UE").detach())
    reads = torch.tensor([2.0, 0.0, 3.0, 0.0])[:, None]
    torch.testing.assert_close(networks[1] - networks[0], -2 * 0.5 / len(INPUT) * reads * before)


def test_a_network_with_a_loss_of_its_own_learns_by_it_and_leaves_a_standing_table_alone() -> None:
    network = Visitor(4, by_distance=True)
    whole = copy.deepcopy(network)
    config = ModelConfig(**PLAIN)
    learned = learn(network, config, {}, user_id=USERS.clamp(min=0))
    rows = whole.get_parameter("user_UE")[USERS.clamp(min=0)]
    loss = whole.own_loss(whole.run(whole.item_VH[INPUT], {}, {"user_UE": rows})[0], TARGET)
    torch.autograd.backward(loss)
    assert learned.loss == pytest.approx(float(loss.detach())) and learned.hits is None
    assert torch.equal(network.item_VH, whole.item_VH) and torch.equal(network.bias_V, whole.bias_V)
    for name in ("mix.weight", "user_UE"):
        parameter = whole.get_parameter(name)
        assert parameter.grad is not None
        torch.testing.assert_close(network.get_parameter(name).detach(), parameter.detach() - parameter.grad)


# Mean loss of both epochs, as they were when each batch was one step and there were no other columns.
BEFORE_THERE_WERE_BLOCKS: list[tuple[dict[str, Any], list[float]]] = [
    ({}, [4.029786544116434, 3.1693515965882146]),
    (
        {
            "layers": 2, "embedding": "separate", "embedding_size": 8, "dropout_hidden": 0.2,
            "dropout_embedding": 0.1, "loss": "bpr-max", "momentum": 0.1,
        },
        [0.6608789645188708, 0.5668750372999766],
    ),
    (
        {"embedding": "one-hot", "optimizer": "adam", "learning_rate": 0.01},
        [4.579690012619531, 4.130958824546113],
    ),
    ({"loss": "full-cross-entropy"}, [4.152107761007255, 3.279975090305032]),
    ({"loss": "full-cross-entropy", "embedding": "separate"}, [4.0997328636209325, 3.0923862800075907]),
    ({"prior_half_lives_s": (600.0, 3600.0)}, [4.066267746125989, 3.1872642270535905]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "losses"), BEFORE_THERE_WERE_BLOCKS)
def test_batches_of_one_step_learn_what_they_always_learned(
    changes: dict[str, Any], losses: list[float]
) -> None:
    log = markov_shoppers(sessions=400, items=120, seed=7)
    vocabulary = Vocabulary.from_frame(log.frame)
    sessions = Sessions.from_frame(log.frame, vocabulary, SessionRule(1800))
    settings = {"hidden_size": 16, "epochs": 2, "negatives": 64, "learning_rate": 0.1, **changes}
    result = train(sessions, vocabulary, ModelConfig(**settings))
    # The same machine repeats them bit for bit; another one's products differ in the last ones.
    assert result.losses == pytest.approx(losses, rel=1e-5)


def test_features_have_room_for_one_value_where_there_is_none() -> None:
    empty = Vocabulary(
        ["a", "b"], np.array([1, 1]), None, Features({"brand": [], "category": []}, (0.0, 1.0))
    )
    network = build(ModelConfig(network="feature-lstm", hidden_size=4), empty)
    missing = {"brand": torch.tensor([-1]), "category": torch.tensor([-1])}
    inputs = {"item": torch.tensor([0]), **missing, "price": torch.tensor([float("nan")])}
    scores, _ = network.step(inputs, network.initial_state(1))
    assert isinstance(scores, Tensor) and scores.isfinite().all()
