import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import CellName
from model.networks.network import State
from model.networks.recurrent_stack import RecurrentStack

Array = npt.NDArray[np.float64]
Layers = list[tuple[CellName, int]]
ALL: Layers = [("gru", 4), ("lstm", 3), ("rnn", 5)]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def weights_of(stack: RecurrentStack, layer: int) -> list[Array]:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return [stack.layers[layer].get_parameter(name).detach().double().numpy() for name in names]


def lstm(stack: RecurrentStack, layer: int, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Equations 2 to 6 of the next-electronics study, with biases; gates lie as i, f, candidate, o."""
    w, u, b, d = weights_of(stack, layer)
    n = len(h)

    def part(g: int) -> Array:
        rows = slice(g * n, (g + 1) * n)
        return np.asarray(w[rows] @ x + u[rows] @ h + b[rows] + d[rows])

    i, f, o = sigmoid(part(0)), sigmoid(part(1)), sigmoid(part(3))
    c = f * c + i * np.tanh(part(2))
    return o * np.tanh(c), c


def gru(stack: RecurrentStack, layer: int, x: Array, h: Array) -> Array:
    w, u, b, d = weights_of(stack, layer)
    n = len(h)
    a, e = w @ x + b, u @ h + d
    r, z = sigmoid(a[:n] + e[:n]), sigmoid(a[n : 2 * n] + e[n : 2 * n])
    return np.asarray((1 - z) * np.tanh(a[2 * n :] + r * e[2 * n :]) + z * h)


def rnn(stack: RecurrentStack, layer: int, x: Array, h: Array) -> Array:
    w, u, b, d = weights_of(stack, layer)
    return np.asarray(np.tanh(w @ x + b + u @ h + d))


def shaken(layers: Layers, seed: int = 0, **options: bool | float) -> RecurrentStack:
    """A stack in evaluation mode none of whose weights or statistics is 0 or 1."""
    torch.manual_seed(seed)
    stack = RecurrentStack(6, layers, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for name, buffer in stack.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 2)
    return stack.eval()


def random_state(stack: RecurrentStack, lanes: int) -> State:
    return {field.name: torch.randn(lanes, *field.shape) for field in stack.state_fields()}


def test_a_step_is_the_equations_cell_by_cell_with_the_running_statistics_between() -> None:
    stack = shaken(ALL, batch_norm=True, dropout=0.5)
    x = torch.randn(2, 6)
    state = random_state(stack, 2)
    output, after = stack.step(x, state)
    for lane in range(2):
        value = x[lane].double().numpy()
        old = {name: tensor[lane].double().numpy() for name, tensor in state.items()}
        new: dict[str, Array] = {}
        for layer, (kind, _) in enumerate(ALL):
            hidden = old[f"hidden{layer}"]
            if kind == "lstm":
                value, new[f"cell{layer}"] = lstm(stack, layer, value, hidden, old[f"cell{layer}"])
            else:
                value = (gru if kind == "gru" else rnn)(stack, layer, value, hidden)
            new[f"hidden{layer}"] = value
            norm = stack.norms[layer]
            named = norm.state_dict()
            mean, variance, scale, shift = (
                named[name].double().numpy() for name in ("running_mean", "running_var", "weight", "bias")
            )
            value = scale * (value - mean) / np.sqrt(variance + 1e-5) + shift
        np.testing.assert_allclose(output[lane].detach().numpy(), value, rtol=1e-5, atol=1e-6)
        for name, expected in new.items():
            np.testing.assert_allclose(after[name][lane].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def packed(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([sum(length > step for length in lengths) for step in range(max(lengths))])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.booleans(), st.integers(0, 5))
def test_a_block_is_its_steps_one_by_one_whatever_the_lengths_and_the_order_of_the_lanes(
    lengths: list[int], norm: bool, seed: int
) -> None:
    stack = shaken(ALL, seed, batch_norm=norm)
    lengths = sorted(lengths, reverse=True)
    lanes = len(lengths)
    inputs = [torch.randn(length, 6) for length in lengths]
    state = random_state(stack, lanes)
    alone: list[tuple[list[torch.Tensor], State]] = []
    for lane in range(lanes):
        now = {name: tensor[lane : lane + 1] for name, tensor in state.items()}
        outputs = []
        for step in range(lengths[lane]):
            output, now = stack.step(inputs[lane][step : step + 1], now)
            outputs.append(output[0])
        alone.append((outputs, now))
    # Lanes of equal length may stand in any order.
    order = sorted(np.random.default_rng(seed).permutation(lanes).tolist(), key=lambda lane: -lengths[lane])
    positions = [(step, lane) for step in range(lengths[0]) for lane in order if lengths[lane] > step]
    data = torch.stack([inputs[lane][step] for step, lane in positions])
    began = {name: tensor[order] for name, tensor in state.items()}
    output, after = stack.block(data, packed(lengths), began)
    for place, (step, lane) in enumerate(positions):
        torch.testing.assert_close(output[place], alone[lane][0][step], rtol=1e-4, atol=1e-5)
    for name, tensor in after.items():
        for place, lane in enumerate(order):
            torch.testing.assert_close(tensor[place], alone[lane][1][name][0], rtol=1e-4, atol=1e-5)


def test_in_training_the_norm_sees_every_position_of_the_block_once_and_no_padding() -> None:
    stack = RecurrentStack(6, [("lstm", 4)], batch_norm=True)
    data, sizes = torch.randn(6, 6), torch.tensor([3, 2, 1])
    state = {field.name: torch.zeros(3, *field.shape) for field in stack.state_fields()}
    output, _ = stack.block(data, sizes, state)
    raw = torch.nn.utils.rnn.PackedSequence(data, sizes)
    hidden = stack.layers[0](raw, (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)))[0].data
    expected = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    norm = stack.norms[0]
    torch.testing.assert_close(norm.running_mean, 0.1 * hidden.mean(0).detach())
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * hidden.var(0).detach())


def test_a_single_position_is_normalised_by_what_earlier_batches_left() -> None:
    stack = shaken([("gru", 4)], batch_norm=True)
    x, state = torch.randn(1, 6), random_state(stack, 1)
    expected, _ = stack.step(x, state)
    stack.train()
    before = {name: buffer.clone() for name, buffer in stack.named_buffers()}
    output, _ = stack.step(x, state)
    torch.testing.assert_close(output, expected)
    for name, buffer in stack.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("run", ["step", "block"])
def test_dropout_is_for_training_only(run: str) -> None:
    stack = shaken([("lstm", 50)], dropout=0.5)
    x, state = torch.randn(3, 6), random_state(stack, 2)

    def output() -> torch.Tensor:
        if run == "step":
            return stack.step(x[:2], state)[0]
        return stack.block(x, torch.tensor([2, 1]), state)[0]

    assert torch.equal(output(), output())
    stack.train()
    dropped = output()
    assert 0.3 < (dropped == 0).float().mean() < 0.7


def test_an_lstm_begins_with_its_forget_gate_open() -> None:
    stack = RecurrentStack(6, [("lstm", 3)])
    bias = stack.layers[0].get_parameter("bias_ih_l0") + stack.layers[0].get_parameter("bias_hh_l0")
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
