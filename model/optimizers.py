"""Adagrad, Adam and momentum, on whole tensors or on single rows of large tables.

A batch touches few rows of the item tables. The optimizer reads and writes only these rows, so a
step's cost does not depend on the number of items. Untouched rows keep their sums and velocities
("lazy" Adam and momentum).

Shapes: U distinct rows, N rows with repeats, H columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from model.config import ModelConfig

ADAGRAD_EPSILON = 1e-6
ADAM_EPSILON = 1e-8


class Rows:
    """The rows of a table that a batch touches, with repeats; `distinct_U` has each row once.

    >>> rows = Rows(torch.tensor([4, 2, 4]), torch.zeros(5, dtype=torch.int64))
    >>> rows.distinct_U.tolist(), rows.add_up(torch.tensor([1.0, 2.0, 3.0])).tolist()
    ([2, 4], [2.0, 4.0])
    """

    def __init__(self, rows_N: Tensor, scratch_V: Tensor) -> None:
        """Find the distinct rows without sorting. Overwrites `scratch_V`, int64, of the table's length."""
        self._group_N, is_chosen_N = _groups(rows_N, scratch_V)
        self.distinct_U = rows_N[is_chosen_N]
        self._group_N = (is_chosen_N.cumsum(0) - 1)[self._group_N]

    def add_up(self, gradient: Tensor) -> Tensor:
        """Add up the gradients of the N rows. Returns the gradients of the U distinct rows."""
        total_U = gradient.new_zeros((len(self.distinct_U), *gradient.shape[1:]))
        return total_U.index_add_(0, self._group_N, gradient)

    def square(self, gradient: Tensor) -> Tensor:
        """The squared norm of the gradient, each distinct row counted once."""
        return self.add_up(gradient).square().sum()

    def add_to(self, parameter: Tensor, step_U: Tensor) -> None:
        """Add a step of the distinct rows to the parameter."""
        parameter.index_add_(0, self.distinct_U, step_U)


class RepeatedRows(Rows):
    """As `Rows`, of a device whose answers the processor would wait for: `distinct_U` keeps the repeats.

    How many rows are distinct is such an answer. Here every repeat has the whole gradient of its row, so
    all of them compute the same new row, and it does not matter which of them writes it.

    >>> rows = RepeatedRows(torch.tensor([4, 2, 4]), torch.zeros(5, dtype=torch.int64))
    >>> rows.add_up(torch.tensor([1.0, 2.0, 3.0])).tolist(), rows.square(torch.tensor([1.0, 2.0, 3.0])).item()
    ([4.0, 2.0, 4.0], 20.0)
    """

    def __init__(self, rows_N: Tensor, scratch_V: Tensor) -> None:
        """Find the repeats. Overwrites `scratch_V`, int64, of the table's length."""
        self._group_N, self._is_chosen_N = _groups(rows_N, scratch_V)
        self.distinct_U = rows_N

    def add_up(self, gradient: Tensor) -> Tensor:
        """Returns for each of the N rows the sum of the gradients of all its repeats."""
        return torch.zeros_like(gradient).index_add_(0, self._group_N, gradient)[self._group_N]

    def square(self, gradient: Tensor) -> Tensor:
        """The squared norm of the gradient, each distinct row counted once."""
        squares_N = self.add_up(gradient).square()
        squares_N = squares_N.flatten(1).sum(1) if gradient.ndim > 1 else squares_N
        return (squares_N * self._is_chosen_N).sum()

    def add_to(self, parameter: Tensor, step_U: Tensor) -> None:
        """Add a step of the rows to the parameter; equal ones of a row once."""
        parameter.index_copy_(0, self.distinct_U, parameter.index_select(0, self.distinct_U) + step_U)


def rows_of(rows_N: Tensor, scratch_V: Tensor) -> Rows:
    """The rows that a batch touches, in the way that suits their device."""
    return (Rows if rows_N.device.type == "cpu" else RepeatedRows)(rows_N, scratch_V)


def _groups(rows_N: Tensor, scratch_V: Tensor) -> tuple[Tensor, Tensor]:
    """For each place one place of the same row, the same one for all of them, and which places those are."""
    places_N = torch.arange(len(rows_N), device=rows_N.device)
    scratch_V[rows_N] = places_N
    # The place written last stands for all places of the same row.
    chosen_N = scratch_V[rows_N]
    return chosen_N, chosen_N == places_N


class Optimizer(ABC):
    """Updates parameters in place by their gradients. Checkpoints save `state`, tensors by name."""

    def __init__(self, learning_rate: float, momentum: float = 0.0) -> None:
        self.learning_rate, self.momentum = learning_rate, momentum
        self.state: dict[str, Tensor] = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor, rows: Rows | None = None) -> None:
        """Step the whole `parameter`, or only its `rows`; gradients of a repeated row add up.

        `name` identifies the parameter's state.
        """
        if rows is None:
            parameter.add_(self._step(name, parameter, gradient, None))
        else:
            rows.add_to(parameter, self._step(name, parameter, rows.add_up(gradient), rows.distinct_U))

    @abstractmethod
    def _step(self, name: str, parameter: Tensor, gradient: Tensor, rows_U: Tensor | None) -> Tensor:
        """Returns the step to add to the parameter, or to its rows."""

    def _with_momentum(self, name: str, parameter: Tensor, step: Tensor, rows_U: Tensor | None) -> Tensor:
        if not self.momentum:
            return step
        velocity = self._of(name, "velocity", parameter)
        if rows_U is None:
            return velocity.mul_(self.momentum).add_(step)
        step = velocity.index_select(0, rows_U).mul_(self.momentum).add_(step)
        velocity.index_copy_(0, rows_U, step)
        return step

    def _of(self, name: str, kind: str, parameter: Tensor) -> Tensor:
        key = f"{name}.{kind}"
        if key not in self.state:
            self.state[key] = torch.zeros_like(parameter, requires_grad=False)
        return self.state[key]


class Adagrad(Optimizer):
    """G += g², v = μ v - η g / √(G + ε), θ += v (Duchi, Hazan, Singer, JMLR 2011; μ: momentum)."""

    def _step(self, name: str, parameter: Tensor, gradient: Tensor, rows_U: Tensor | None) -> Tensor:
        total = self._of(name, "sum", parameter)
        if rows_U is None:
            sum_U = total.addcmul_(gradient, gradient)
        else:
            sum_U = total.index_select(0, rows_U).addcmul_(gradient, gradient)
            total.index_copy_(0, rows_U, sum_U)
        step = (sum_U + ADAGRAD_EPSILON).rsqrt_().mul_(gradient).mul_(-self.learning_rate)
        return self._with_momentum(name, parameter, step, rows_U)


class Momentum(Optimizer):
    """v = μ v - η g, θ += v (Polyak, 1964); with μ = 0 plain gradient descent."""

    def _step(self, name: str, parameter: Tensor, gradient: Tensor, rows_U: Tensor | None) -> Tensor:
        step = gradient * -self.learning_rate
        return self._with_momentum(name, parameter, step, rows_U)


class Adam(Optimizer):
    """θ -= η m̂ / (√v̂ + ε), bias-corrected by the number of updates (Kingma, Ba, ICLR 2015)."""

    def __init__(self, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2 = beta1, beta2

    def _step(self, name: str, parameter: Tensor, gradient: Tensor, rows_U: Tensor | None) -> Tensor:
        first, second = self._of(name, "first", parameter), self._of(name, "second", parameter)
        steps = self._of(name, "steps", torch.zeros((), dtype=torch.int64))
        steps += 1
        count = int(steps)
        where = slice(None) if rows_U is None else rows_U
        first_U = first[where].lerp(gradient, 1 - self.beta1)
        second_U = second[where].mul(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        first[where], second[where] = first_U, second_U
        scale = self.learning_rate / (1 - self.beta1**count)
        root_U = (second_U / (1 - self.beta2**count)).sqrt_().add_(ADAM_EPSILON)
        return first_U.div(root_U).mul_(-scale)


def build_optimizer(config: ModelConfig) -> Optimizer:
    """Returns the optimizer that `config` names.

    >>> type(build_optimizer(ModelConfig(optimizer="adam"))).__name__
    'Adam'
    """
    match config.optimizer:
        case "adagrad":
            return Adagrad(config.learning_rate, config.momentum)
        case "adam":
            return Adam(config.learning_rate)
        case "momentum":
            return Momentum(config.learning_rate, config.momentum)
