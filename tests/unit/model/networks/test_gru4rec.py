import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.gru4rec import OneHotGRUCell
from model.networks.network import GradientNetwork

ITEMS = 9
VOCABULARY = Vocabulary([f"i{n}" for n in range(ITEMS)], np.arange(ITEMS, 0, -1))
VARIANTS = [
    {"embedding": "tied"},
    {"embedding": "separate", "embedding_size": 3},
    {"embedding": "one-hot", "layers": 2},
    {"layers": 3, "dropout_hidden": 0.5, "dropout_embedding": 0.5},
    {"prior_half_lives_s": (60.0,)},
]


def network_of(settings: dict[str, object]) -> GradientNetwork:
    torch.manual_seed(2)
    network = build(ModelConfig.model_validate({"hidden_size": 5, **settings}), VOCABULARY)
    assert isinstance(network, GradientNetwork)
    return network.eval()


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_steps_are_what_the_training_runs(settings: dict[str, object]) -> None:
    network = network_of(settings)
    generator = torch.Generator().manual_seed(3)
    session = torch.randint(ITEMS, (4, 6), generator=generator)
    stepped = forward = network.initial_state(4)
    table = network.get_parameter(network.input_table)
    for item_B in session.T:
        scores, stepped = network.step({"item": item_B}, stepped)
        output_BH, forward = network.run(table[item_B], forward)
    for name, tensor in stepped.items():
        torch.testing.assert_close(tensor, forward[name])
    bias = network.get_parameter("bias_V") + (network.prior.bias() if network.prior else 0)
    assert isinstance(scores, torch.Tensor)
    torch.testing.assert_close(scores, output_BH @ network.get_parameter("item_VH").T + bias)


def test_the_one_hot_cell_is_a_gru_cell_that_reads_one_hot_vectors() -> None:
    torch.manual_seed(4)
    reference, ours = torch.nn.GRUCell(ITEMS, 5), OneHotGRUCell(5)
    with torch.no_grad():
        ours.weight_hh.copy_(reference.weight_hh)
        ours.bias_hh.copy_(reference.bias_hh)
        ours.bias_ih.copy_(reference.bias_ih)
    item_B, hidden_BH = torch.tensor([0, 8, 3]), torch.randn(3, 5)
    one_hot = torch.nn.functional.one_hot(item_B, ITEMS).float()
    rows = reference.weight_ih.T[item_B]
    torch.testing.assert_close(ours(rows, hidden_BH), reference(one_hot, hidden_BH))


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_item_tables_are_the_only_parameters_kept_from_dense_updates(settings: dict[str, object]) -> None:
    network = network_of(settings)
    tables = {network.input_table, network.output_table, network.bias_table}
    assert network.dense_parameters().keys() | tables == dict(network.named_parameters()).keys()
    for name, tensor in network.state_dict().items():
        counted = network.counted_dimension(name)
        assert (counted is not None) == (ITEMS in tensor.shape), name
        assert counted is None or (counted[0] == "item" and tensor.shape[counted[1]] == ITEMS)


def test_dropout_acts_in_training_only() -> None:
    network = network_of({"layers": 3, "dropout_hidden": 0.5})
    state, inputs = network.initial_state(2), {"item": torch.tensor([1, 2])}
    first, second = (network.advance(inputs, state)[0] for _ in range(2))
    torch.testing.assert_close(first, second)
    network.train()
    first, second = (network.advance(inputs, state)[0] for _ in range(2))
    assert not torch.equal(first, second)
