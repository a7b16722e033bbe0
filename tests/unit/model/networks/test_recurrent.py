"""Stacks by name against slow, literal equations; the network's shapes, scores and blocks."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.network import GradientNetwork
from model.networks.recurrent import Recurrent
from model.networks.recurrent_stack import RecurrentStack, named_layers

ITEMS, COLUMNS = 9, 6
VOCABULARY = Vocabulary([f"i{n}" for n in range(ITEMS)], np.arange(ITEMS, 0, -1))
STACKS = [
    ("rnn-4",),
    ("lstm-5", "lstm-3"),
    ("gru-4", "rnn-2"),
    ("gru-3", "lstm-4", "gru-2"),
    ("gru-3", "dense-4", "lstm-6"),
]
Vector = npt.NDArray[np.float64]


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def product(matrix: Vector, vector: Sequence[float], row: int) -> float:
    return sum(float(matrix[row, column]) * vector[column] for column in range(len(vector)))


def literal_rnn(w: Mapping[str, Vector], x: list[float], h: list[float]) -> list[float]:
    b = w["bias_ih_l0"] + w["bias_hh_l0"]
    return [
        float(np.tanh(product(w["weight_ih_l0"], x, j) + product(w["weight_hh_l0"], h, j) + b[j]))
        for j in range(len(h))
    ]


def literal_lstm(
    w: Mapping[str, Vector], x: list[float], h: list[float], c: list[float]
) -> tuple[list[float], list[float]]:
    """i, f, g, o; c' = f c + i g; h' = o tanh c'."""
    units, b = len(h), w["bias_ih_l0"] + w["bias_hh_l0"]
    hidden, cells = [], []
    for j in range(units):
        i, f, g, o = (
            product(w["weight_ih_l0"], x, k) + product(w["weight_hh_l0"], h, k) + b[k]
            for k in (j, units + j, 2 * units + j, 3 * units + j)
        )
        cells.append(sigmoid(f) * c[j] + sigmoid(i) * np.tanh(g))
        hidden.append(sigmoid(o) * np.tanh(cells[j]))
    return hidden, cells


def literal_gru(w: Mapping[str, Vector], x: list[float], h: list[float]) -> list[float]:
    """r, z, n = tanh(W x + b + r (U h + b')); h' = (1 - z) n + z h."""
    units = len(h)
    after = []
    for j in range(units):
        from_x = [
            product(w["weight_ih_l0"], x, k) + w["bias_ih_l0"][k] for k in (j, units + j, 2 * units + j)
        ]
        from_h = [
            product(w["weight_hh_l0"], h, k) + w["bias_hh_l0"][k] for k in (j, units + j, 2 * units + j)
        ]
        r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        after.append((1 - z) * np.tanh(from_x[2] + r * from_h[2]) + z * h[j])
    return after


def literally(stack: RecurrentStack, rows: Vector) -> tuple[list[list[float]], dict[str, list[float]]]:
    """A session's outputs, and its state after them, in plain loops."""
    state = {field.name: [0.0] * field.shape[0] for field in stack.state_fields()}
    outputs = []
    for row in rows:
        x = [float(value) for value in row]
        for number, (kind, layer) in enumerate(zip(stack.kinds, stack.layers, strict=True)):
            w = {name: p.detach().double().numpy() for name, p in layer.named_parameters()}
            hidden, cell = f"hidden{number}", f"cell{number}"
            if kind == "dense":
                x = [product(w["weight"], x, j) + w["bias"][j] for j in range(len(w["bias"]))]
                continue
            if kind == "lstm":
                state[hidden], state[cell] = literal_lstm(w, x, state[hidden], state[cell])
            elif kind == "gru":
                state[hidden] = literal_gru(w, x, state[hidden])
            else:
                state[hidden] = literal_rnn(w, x, state[hidden])
            x = state[hidden]
        outputs.append(x)
    return outputs, state


def stack_of(layers: tuple[str, ...]) -> RecurrentStack:
    """With biases that are not zero, as after training."""
    torch.manual_seed(5)
    stack = RecurrentStack(COLUMNS, named_layers(layers))
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return stack.eval()


def packed(sessions: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sessions in descending length → their rows step by step, and the lanes that have a step t."""
    lengths = [len(rows) for rows in sessions]
    data = torch.cat(
        [torch.stack([rows[t] for rows in sessions if t < len(rows)]) for t in range(lengths[0])]
    )
    return data, torch.tensor([sum(length > t for length in lengths) for t in range(lengths[0])])


def initial(stack: RecurrentStack, sessions: int) -> dict[str, torch.Tensor]:
    return {field.name: torch.zeros(sessions, *field.shape) for field in stack.state_fields()}


@pytest.mark.parametrize("layers", STACKS, ids="+".join)
def test_steps_and_packed_blocks_are_the_literal_equations(layers: tuple[str, ...]) -> None:
    stack = stack_of(layers)
    sessions = [torch.randn(length, COLUMNS) for length in (5, 3, 3, 1)]
    data, batch_sizes = packed(sessions)
    outputs, block_state = stack.block(data, batch_sizes, initial(stack, len(sessions)))
    begins = torch.cumsum(batch_sizes, 0) - batch_sizes
    for lane, rows in enumerate(sessions):
        expected, expected_state = literally(stack, rows.double().numpy())
        state = initial(stack, 1)
        for t, row in enumerate(rows):
            output, state = stack.step(row[None], state)
            torch.testing.assert_close(output[0], torch.tensor(expected[t]).float())
            torch.testing.assert_close(outputs[begins[t] + lane], output[0])
        for name, vector in expected_state.items():
            torch.testing.assert_close(state[name][0], torch.tensor(vector).float())
            torch.testing.assert_close(block_state[name][lane], state[name][0])


def test_a_block_goes_on_from_the_states_that_the_block_before_it_left() -> None:
    stack = stack_of(("gru-3", "lstm-4"))
    sessions = [torch.randn(6, COLUMNS) for _ in range(3)]
    whole, after_whole = stack.block(*packed(sessions), initial(stack, 3))
    first, state = stack.block(*packed([rows[:2] for rows in sessions]), initial(stack, 3))
    second, state = stack.block(*packed([rows[2:] for rows in sessions]), state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for name, tensor in after_whole.items():
        torch.testing.assert_close(state[name], tensor)


def network_of(**settings: object) -> Recurrent:
    torch.manual_seed(2)
    network = build(ModelConfig.model_validate({"network": "recurrent", **settings}), VOCABULARY)
    assert isinstance(network, Recurrent)
    return network.eval()


def test_the_published_shape_is_an_embedding_of_128_and_its_layers_from_cell_or_stack() -> None:
    network = network_of(cell="lstm", layers=2, hidden_size=256)
    listed = network_of(stack=("lstm-256", "lstm-256"))
    assert network.input_VE.shape == (ITEMS, 128)
    assert network.item_VH.shape == (ITEMS, 256)
    shapes = {field.name: field.shape for field in network.state_fields()}
    assert shapes == dict.fromkeys(("hidden0", "cell0", "hidden1", "cell1"), (256,))
    assert network.state_dict().keys() == listed.state_dict().keys()
    assert network_of(embedding_size=7).input_VE.shape == (ITEMS, 7)


def test_scores_are_a_softmax_layer_on_the_top_output() -> None:
    network = network_of(stack=("gru-4", "rnn-3"))
    with torch.no_grad():
        network.bias_V.add_(torch.arange(ITEMS))
    item_B = torch.tensor([0, 8, 3])
    scores, _ = network.step({"item": item_B}, network.initial_state(3))
    output, _ = network.stack.step(network.input_VE[item_B], network.initial_state(3))
    torch.testing.assert_close(scores, output @ network.item_VH.T + network.bias_V)


def test_a_block_of_a_network_is_its_steps() -> None:
    network = network_of(stack=("gru-4", "lstm-3"), batch_norm=True)
    items = [torch.tensor([3, 1, 2]), torch.tensor([5, 8]), torch.tensor([0])]
    rows = network.input_VE[torch.cat(items)]
    outputs, after = network.run_block({}, rows, torch.tensor([3, 2, 1]), network.initial_state(3))
    state, at = network.initial_state(3), 0
    for item_B in items:
        size = len(item_B)
        lanes = {name: tensor[:size] for name, tensor in state.items()}
        output, lanes = network.advance({"item": item_B}, lanes)
        torch.testing.assert_close(outputs[at : at + size], output)
        state = {name: torch.cat([lanes[name], tensor[size:]]) for name, tensor in state.items()}
        at += size
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, state[name])


def test_the_item_tables_are_the_only_parameters_kept_from_dense_updates() -> None:
    network: GradientNetwork = network_of(stack=("gru-4", "dense-3", "lstm-2"))
    tables = {network.input_table, network.output_table, network.bias_table}
    assert network.dense_parameters().keys() | tables == dict(network.named_parameters()).keys()
    assert not network.dense_parameters().keys() & tables


@pytest.mark.parametrize("layer", ["lstm", "lstm-0", "conv-3", "gru-10000", "GRU-3"])
def test_a_layer_that_is_none_is_refused(layer: str) -> None:
    with pytest.raises(ValidationError, match="stack"):
        ModelConfig(network="recurrent", stack=(layer,))


def test_a_one_hot_input_is_refused() -> None:
    with pytest.raises(NextclickError, match="no one-hot input"):
        network_of(embedding="one-hot")
