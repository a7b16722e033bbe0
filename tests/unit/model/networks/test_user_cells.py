"""The cells against Donkers et al. (RecSys 2017), equations 3 to 10, written out one vector at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.networks.user_cells import AttentionalCell, LinearCell, RectifiedCell, UserCell

UNITS = 5
Vector = npt.NDArray[np.float64]
Parameters = dict[str, Vector]


def sigmoid(x: Vector) -> Vector:
    return 1 / (1 + np.exp(-x))


def gates(p: Parameters, h: Vector, i: Vector, v: Vector) -> tuple[Vector, Vector]:
    """Equations 3 and 9: u and r of the concatenated vectors."""
    n = len(h)
    weight = np.concatenate([p["weight_gates"], p["weight_item"][: 2 * n], p["weight_user"][: 2 * n]], 1)
    assert weight.shape == (2 * n, 3 * n)
    both = sigmoid(weight @ np.concatenate([h, i, v]) + p["bias"][: 2 * n])
    return both[:n], both[n:]


def update(p: Parameters, h: Vector, i: Vector, v: Vector) -> Vector:
    """Equations 4 or 10, then 5."""
    n = len(h)
    u, r = gates(p, h, i, v)
    k = np.tanh(
        p["weight_reset"] @ (r * h)
        + p["weight_item"][2 * n :] @ i
        + p["weight_user"][2 * n :] @ v
        + p["bias"][2 * n :]
    )
    return (np.ones(n) - u) * h + u * k


def linear_step(p: Parameters, h: Vector, i: Vector, v: Vector) -> Vector:
    return update(p, h, i, v)


def rectified_step(p: Parameters, h: Vector, i: Vector, v: Vector) -> Vector:
    n = len(h)
    # Equation 7.
    weight = np.concatenate([p["threshold_hidden"], p["threshold_item"], p["threshold_user"]], 1)
    kappa = weight @ np.concatenate([h, i, v]) + p["threshold_bias"]
    first, second = kappa[:n], kappa[n:]
    filtered = np.zeros(n)
    for entry in range(n):
        # Equation 6, ω = .2.
        if v[entry] < first[entry]:
            filtered[entry] = 0
        elif first[entry] < v[entry] < second[entry]:
            filtered[entry] = 0.2 * v[entry]
        else:
            filtered[entry] = v[entry]
    return update(p, h, i, filtered)


def attentional_step(p: Parameters, h: Vector, i: Vector, v: Vector) -> Vector:
    # Equation 8.
    xi = sigmoid(p["gate_hidden"] @ h + p["gate_item"] @ i + p["gate_user"] @ v + p["gate_bias"])
    return update(p, h, (np.ones(len(h)) - xi) * i, xi * v)


CELLS: dict[str, tuple[Callable[[], UserCell], Callable[[Parameters, Vector, Vector, Vector], Vector]]] = {
    "linear": (lambda: LinearCell(UNITS), linear_step),
    "rectified": (lambda: RectifiedCell(UNITS, 0.2), rectified_step),
    "attentional": (lambda: AttentionalCell(UNITS, 0.02), attentional_step),
}


def cell_of(name: str, spread: float) -> UserCell:
    torch.manual_seed(8)
    cell = CELLS[name][0]().double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0, spread)
    return cell


def vectors(count: int, rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(rows, UNITS, generator=generator, dtype=torch.float64) for _ in range(count)]


def step(
    cell: UserCell, item_BH: torch.Tensor, user_BH: torch.Tensor, hidden_BH: torch.Tensor
) -> torch.Tensor:
    stepped = cell(cell.positions(item_BH, user_BH), hidden_BH)
    assert isinstance(stepped, torch.Tensor)
    return stepped


@torch.no_grad()
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_steps_as_the_papers_equations_do(name: str) -> None:
    cell, literal = cell_of(name, 0.8), CELLS[name][1]
    parameters = {key: value.numpy() for key, value in cell.state_dict().items()}
    item, user, hidden = vectors(3, 60)
    stepped = step(cell, item, user, hidden)
    rows = zip(hidden.numpy(), item.numpy(), user.numpy(), strict=True)
    expected = np.stack([literal(parameters, h, i, v) for h, i, v in rows])
    np.testing.assert_allclose(stepped.numpy(), expected, rtol=1e-12, atol=1e-14)


@torch.no_grad()
def test_the_rectified_cell_meets_every_case_of_equation_6() -> None:
    # Thresholds of exactly -1 and 1, whatever the input: v is shut off, diminished, or passes.
    cell = cell_of("rectified", 0.8)
    assert isinstance(cell, RectifiedCell)
    for parameter in (cell.threshold_item, cell.threshold_user, cell.threshold_hidden):
        parameter.zero_()
    cell.threshold_bias[:UNITS], cell.threshold_bias[UNITS:] = -1, 1
    item, hidden = vectors(2, 1)
    user = torch.tensor([[-1.5, -0.5, 0.5, 1.5, 1.0]], dtype=torch.float64)
    filtered = torch.tensor([[0, -0.1, 0.1, 1.5, 1.0]], dtype=torch.float64)
    linear_cell = LinearCell(UNITS).double()
    linear_cell.load_state_dict({name: cell.state_dict()[name] for name in linear_cell.state_dict()})
    torch.testing.assert_close(step(cell, item, user, hidden), step(linear_cell, item, filtered, hidden))
    # Thresholds the wrong way round leave nothing to diminish.
    cell.threshold_bias[:UNITS], cell.threshold_bias[UNITS:] = 1, -1
    filtered = torch.tensor([[0, 0, 0, 1.5, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(step(cell, item, user, hidden), step(linear_cell, item, filtered, hidden))


@pytest.mark.parametrize("name", CELLS)
def test_parameters_begin_within_a_tenth_of_zero_but_for_the_gate(name: str) -> None:
    cell = CELLS[name][0]()
    torch.manual_seed(1)
    cell.initialise()
    for key, parameter in cell.named_parameters():
        bound = 0.01 if key.startswith("gate_") else 0.1
        if key != "gate_bias":
            assert parameter.abs().max() <= bound, key
            assert parameter.std() > bound / 4, key


def plain_gru_of(cell: UserCell) -> LinearCell:
    """The linear cell of the same weights, which with a user of zeros is the plain GRU."""
    plain = LinearCell(cell.units)
    plain.load_state_dict({name: cell.state_dict()[name] for name in plain.state_dict()})
    return plain


@torch.no_grad()
def test_the_attentional_cell_begins_as_almost_the_plain_gru() -> None:
    units = 64
    item, user = (torch.empty(50, units).uniform_(-0.1, 0.1) for _ in range(2))
    hidden = torch.zeros(50, units)
    distances: dict[float, list[float]] = {}
    for begin in (0.02, 0.5):
        torch.manual_seed(2)
        cell = AttentionalCell(units, begin)
        cell.initialise()
        plain = plain_gru_of(cell)
        gate = cell.gate(cell.positions(item, user)[0], hidden)
        assert gate.sub(begin).abs().max() < 0.01 * begin + 1e-3
        mine = others = plains = hidden
        for _ in range(10):
            mine = step(cell, item, user, mine)
            # The same but of other users: what the user makes of it at the beginning.
            others = step(cell, item, user.flip(0), others)
            plains = step(plain, item, torch.zeros_like(user), plains)
        size = plains.sub(plains.mean(0)).norm()
        distances[begin] = [float(mine.sub(x).norm() / size) for x in (plains, others)]
    to_plain, by_user = distances[0.02]
    assert to_plain < 0.05
    assert by_user < 0.05
    # With a gate of parameters near zero only, item and user count alike, each for a half.
    to_plain, by_user = distances[0.5]
    assert to_plain > 0.4
    assert by_user > 0.4


def test_nothing_teaches_the_thresholds_of_equation_7() -> None:
    # They stand in comparisons only, which have no slope, and so do not ask for any.
    cell = cell_of("rectified", 0.3)
    asking = {name for name, parameter in cell.named_parameters() if parameter.requires_grad}
    cell.requires_grad_()
    item, user, hidden = vectors(3, 20)
    torch.autograd.backward(step(cell, item, user, hidden).square().sum())
    without = {name for name, parameter in cell.named_parameters() if parameter.grad is None}
    assert without == dict(cell.named_parameters()).keys() - asking
    assert without == {"threshold_item", "threshold_user", "threshold_hidden", "threshold_bias"}
