from typing import Any

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.inspection.similar_items import similar_items, similar_to_item
from model.networks.by_name import build, columns_of
from model.networks.fused.fused_list import FusedList
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping.stepper import Stepper
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import with_features

LOG = with_features(markov_shoppers(sessions=60, items=30, seed=2).frame)
NETWORKS: list[dict[str, Any]] = [
    {"network": "gru4rec", "layers": 2},
    {"network": "recurrent", "stack": ("gru-12", "dense-10", "lstm-16", "dense-8"), "batch_norm": True},
    {"network": "recurrent", "cell": "rnn"},
    {"network": "user-gru-linear", "layers": 2},
    {"network": "feature-lstm", "layers": 2, "loss": "full-cross-entropy"},
    {"network": "text-gru", "loss": "cosine", "title_size": 24},
    {"network": "fused"},
]


def stepper_of(config: dict[str, Any]) -> Stepper:
    torch.manual_seed(4)
    settings = ModelConfig(**{"hidden_size": 12, **config})
    vocabulary = Vocabulary.from_frame(LOG, columns_of(settings))
    network = build(settings, vocabulary)
    if isinstance(network, GradientNetwork):
        network.prepare_items(vocabulary)
        network.finalize()
    return Stepper(ModelVersion("v", settings, vocabulary, network.eval()), device="cpu")


def stepped(stepper: Stepper, items: list[int]) -> tuple[torch.Tensor, Any]:
    """The last output of a session, and its state."""
    state = stepper.network.initial_state(1)
    output_1H = torch.empty(0)
    for item in items:
        columns = {name: np.full(1, None, object) for name in stepper.network.columns}
        with torch.inference_mode():
            inputs = stepper.inputs({**columns, "item": np.array([item])})
            output_1H, state = stepper.network.advance(inputs, state)
    return output_1H, state


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: "-".join(map(str, config.values())))
def test_the_similar_items_are_those_of_the_last_steps_output(config: dict[str, Any]) -> None:
    stepper = stepper_of(config)
    output_1H, state = stepped(stepper, [3, 5, 2])
    with torch.inference_mode():
        found = stepper.network.output_of(state)
    assert found is not None
    network = stepper.network
    if isinstance(network, FusedList):
        output_1H, network = network.network_output(output_1H), network.network
    assert torch.equal(found, output_1H)
    assert isinstance(network, GradientNetwork)
    table_VH = network.get_parameter(network.output_table).detach()
    cosines_V = torch.cosine_similarity(table_VH, output_1H)
    expected = cosines_V.sort(descending=True)
    similar = similar_items(stepper, stepper.layout.pack(state, 1)[0], 5)
    assert similar is not None
    assert similar[0].tolist() == expected.indices[:5].tolist()
    np.testing.assert_allclose(similar[1], expected.values[:5], rtol=1e-5)


def test_an_item_without_a_vector_is_similar_to_nothing_and_a_state_of_zeros_has_no_similar_items() -> None:
    stepper = stepper_of({"network": "gru4rec"})
    _, state = stepped(stepper, [3])
    network = stepper.network
    assert isinstance(network, GradientNetwork)
    network.get_parameter(network.output_table).data[7] = 0
    similar = similar_items(stepper, stepper.layout.pack(state, 1)[0], 30)
    assert similar is not None
    assert sorted(similar[0].tolist()) == [item for item in range(stepper.network.items) if item != 7]
    assert np.isfinite(similar[1]).all()
    nothing = similar_items(stepper, stepper.initial_rows(1)[0], 5)
    assert nothing is not None and not len(nothing[0])


def test_a_model_that_counts_has_no_similar_items() -> None:
    stepper = stepper_of({"network": "s-pop"})
    assert similar_items(stepper, stepper.initial_rows(1)[0], 5) is None


def test_the_items_similar_to_one_are_without_it_and_without_unlisted_ones() -> None:
    stepper = stepper_of({"network": "gru4rec"})
    network = stepper.network
    assert isinstance(network, GradientNetwork)
    table_VH = network.get_parameter(network.output_table).detach()
    expected = torch.cosine_similarity(table_VH, table_VH[4:5]).sort(descending=True).indices.tolist()
    expected.remove(4)
    found = similar_to_item(stepper, 4, 6)
    assert found is not None and found[0].tolist() == expected[:6]
    stepper.unlisted.mark(np.array([expected[1]]), np.array([True]))
    found = similar_to_item(stepper, 4, 6)
    assert found is not None and found[0].tolist() == [expected[0], *expected[2:7]]
    table_VH[9] = 0
    nothing = similar_to_item(stepper, 9, 6)
    assert nothing is not None and not len(nothing[0])
    assert similar_to_item(stepper_of({"network": "pop"}), 4, 6) is None
