import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.network import GradientNetwork
from model.optimizers import Adam, build_optimizer
from model.training.train import train
from model.training.warm_start import WarmStart
from tests.harness.markov_shoppers import markov_shoppers

CONFIG = ModelConfig(hidden_size=4, epochs=1, negatives=8, optimizer="adam", prior_half_lives_s=(60.0, 600.0))
OLD = Vocabulary(["a", "b", "c", "d"], np.array([4, 3, 2, 1]))
# As many items as units: a dimension of that size says nothing of what it counts.
NEW = Vocabulary(["c", "x", "a", "y", "d"], np.array([1, 1, 1, 1, 1]))

# c, x, a; y beside x only, which is new as well.
CLICKED = Sessions(np.array([0, 3, 5]), np.array([0, 1, 2, 1, 3]), np.arange(5) * 1000, np.array(["s", "t"]))


def test_rows_follow_their_item_and_new_items_begin_anew() -> None:
    torch.manual_seed(0)
    old, new = build(CONFIG, OLD), build(CONFIG, NEW)
    fresh = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    for tensor in old.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    state = {
        "item_VH.first": torch.randn(4, 4),
        "bias_V.second": torch.randn(4),
        "item_VH.steps": torch.tensor(7),
        "cells.0.weight_hh.first": torch.randn(12, 4),
    }
    optimizer = Adam(0.1)
    assert hasattr(new, "counted_dimension")
    WarmStart(old.state_dict(), state, OLD).apply_to(new, optimizer, NEW)  # type: ignore[arg-type]
    after, before = new.state_dict(), old.state_dict()
    assert torch.equal(after["item_VH"][[0, 2, 4]], before["item_VH"][[2, 0, 3]])
    assert torch.equal(after["item_VH"][[1, 3]], fresh["item_VH"][[1, 3]])
    assert torch.equal(after["prior.counts_KV"][:, [0, 2, 4]], before["prior.counts_KV"][:, [2, 0, 3]])
    assert torch.equal(after["cells.0.weight_hh"], before["cells.0.weight_hh"])
    assert torch.equal(optimizer.state["item_VH.first"][[0, 2, 4]], state["item_VH.first"][[2, 0, 3]])
    assert (optimizer.state["bias_V.second"][[1, 3]] == 0).all()
    assert optimizer.state["item_VH.steps"] == 7


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_new_items_begin_at_the_mean_of_their_known_neighbours(embedding: str) -> None:
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"embedding": embedding})
    old, new = build(config, OLD), build(config, NEW)
    assert isinstance(old, GradientNetwork)
    assert isinstance(new, GradientNetwork)
    with torch.no_grad():
        old.get_parameter("bias_V").normal_()
    fresh = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    WarmStart(old.state_dict(), {}, OLD).apply_to(new, Adam(0.1), NEW, CLICKED)
    for name in {new.input_table, new.output_table, new.bias_table}:
        before, after = old.get_parameter(name), new.get_parameter(name)
        torch.testing.assert_close(after[1], (before[2] + before[0]) / 2)
        assert torch.equal(after[3], fresh[name][3]), "without a known neighbour"
        assert torch.equal(after[[0, 2, 4]], before[[2, 0, 3]])


def test_the_setting_decides_where_new_items_begin() -> None:
    log = markov_shoppers(sessions=200, items=30, seed=4).frame
    vocabulary = Vocabulary.from_frame(log)
    sessions = Sessions.from_frame(log, vocabulary, SessionRule(1800))
    some = Vocabulary([f"i{n}" for n in range(20)], np.ones(20, np.int64))
    config = CONFIG.model_copy(update={"learning_rate": 1e-9})
    start = WarmStart(build(config, some).state_dict(), {}, some)
    unknown = np.flatnonzero(some.encode(vocabulary.item_ids.tolist()) < 0)
    norms = []
    for choice in ("random", "neighbours"):
        chosen = config.model_copy(update={"new_item_vectors": choice})
        network = train(sessions, vocabulary, chosen, start=start).network
        norms.append(float(network.get_parameter("item_VH")[unknown].detach().norm(dim=1).mean()))
    assert norms[1] < 0.8 * norms[0], "a mean of many is shorter than one drawn alone"


@pytest.mark.parametrize(
    ("settings", "message"), [({"layers": 2}, "differs in"), ({"hidden_size": 5}, "tensor of")]
)
def test_another_kind_of_network_does_not_fit(settings: dict[str, int], message: str) -> None:
    other = CONFIG.model_copy(update=settings)
    network = build(other, NEW)
    start = WarmStart(build(CONFIG, OLD).state_dict(), {}, OLD)
    with pytest.raises(NextclickError, match=message):
        start.apply_to(network, build_optimizer(other), NEW)  # type: ignore[arg-type]


def test_going_on_from_a_model_begins_where_it_ended() -> None:
    log = markov_shoppers(sessions=600, items=30, seed=4).frame
    vocabulary = Vocabulary.from_frame(log)
    sessions = Sessions.from_frame(log, vocabulary, SessionRule(1800))
    config = ModelConfig(hidden_size=16, epochs=3, negatives=16, learning_rate=0.1)
    first = train(sessions, vocabulary, config)
    start = WarmStart(first.network.state_dict(), first.optimizer_state, vocabulary)
    second = train(sessions, vocabulary, config, start=start)
    assert second.losses[0] < first.losses[0] - 0.5
    assert second.losses[0] < first.losses[-1] + 0.05
