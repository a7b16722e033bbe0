"""Gated recurrent cells that read the user beside the item: linear, rectified linear, attentional.

Donkers, Loepp, Ziegler: Sequential User-based Recurrent Neural Network Recommendations,
RecSys 2017, equations 3 to 10, written from the paper. A cell says what of its equations
needs no hidden state (`positions`), which is done for all positions of a block at once, and
takes the steps (`forward`). The affine maps T of an equation that are added up share one
bias: their sum is all that the equation sees.

Shapes: N positions of a block, B sessions in a step, H units, which are also the columns of
item and user vectors (i = E_i i^t and v = E_v v^t below).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

INITIAL_BOUND = 0.1
INITIAL_GATE_BOUND = 0.01

Positions = tuple[Tensor, ...]


class UserCell(nn.Module, ABC):
    """What the three cells share: the gates' and the update's maps, and the leaky update.

    Rows of `weight_*` and `bias` are those of update gate u, reset gate r and state update k.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.weight_item = nn.Parameter(torch.empty(3 * units, units))
        self.weight_user = nn.Parameter(torch.empty(3 * units, units))
        self.weight_gates = nn.Parameter(torch.empty(2 * units, units))
        self.weight_reset = nn.Parameter(torch.empty(units, units))
        self.bias = nn.Parameter(torch.empty(3 * units))

    def initialise(self) -> None:
        """Uniform in ±.1, biases too (section 4.1.3)."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-INITIAL_BOUND, INITIAL_BOUND)

    @abstractmethod
    def positions(self, item_NH: Tensor, user_NH: Tensor) -> Positions:
        """What `forward` needs of each position; tensors of N rows."""

    @abstractmethod
    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """Rows of `positions` and hidden states → new hidden states, B×H."""

    def _update(self, inputs_BG: Tensor, hidden_BH: Tensor) -> Tensor:
        """h = (1 - u) ⊙ h + u ⊙ k (eq. 5), from what item and user add to u, r and k, B×3H."""
        units = self.units
        gates_BG = torch.sigmoid(inputs_BG[:, : 2 * units] + linear(hidden_BH, self.weight_gates))
        update_BH, reset_BH = gates_BG.chunk(2, 1)
        new_BH = torch.tanh(inputs_BG[:, 2 * units :] + linear(reset_BH * hidden_BH, self.weight_reset))
        return hidden_BH + update_BH * (new_BH - hidden_BH)


class LinearCell(UserCell):
    """u, r = σ(T [h, i, v]) and k = tanh(T (r ⊙ h) + T i + T v) (eq. 3 to 5)."""

    def positions(self, item_NH: Tensor, user_NH: Tensor) -> Positions:
        """T i + T v of both equations."""
        return (linear(item_NH, self.weight_item, self.bias) + linear(user_NH, self.weight_user),)

    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """One step."""
        return self._update(positions[0], hidden_BH)


class RectifiedCell(UserCell):
    """As the linear cell, of a v that is shut off or diminished below two thresholds (eq. 6 and 7).

    v_l ← 0 where v_l < κ_1l, ω v_l where κ_1l < v_l < κ_2l, else v_l, with κ = T [h, i, v] and
    ω = `weight`. The arrow of equation 6 is read as one for all that follows: gates and k. The map T of
    the thresholds stands in comparisons only, which have no slope: it stays as it begins.
    """

    def __init__(self, units: int, weight: float) -> None:
        super().__init__(units)
        self.weight = weight
        self.threshold_item = nn.Parameter(torch.empty(2 * units, units), requires_grad=False)
        self.threshold_user = nn.Parameter(torch.empty(2 * units, units), requires_grad=False)
        self.threshold_hidden = nn.Parameter(torch.empty(2 * units, units), requires_grad=False)
        self.threshold_bias = nn.Parameter(torch.empty(2 * units), requires_grad=False)

    def positions(self, item_NH: Tensor, user_NH: Tensor) -> Positions:
        """T i of the gates, T i + T v of the thresholds, and v."""
        thresholds_NG = linear(item_NH, self.threshold_item, self.threshold_bias)
        return (
            linear(item_NH, self.weight_item, self.bias),
            thresholds_NG + linear(user_NH, self.threshold_user),
            user_NH,
        )

    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """One step."""
        inputs_BG, thresholds_BG, user_BH = positions
        low_BH, high_BH = (thresholds_BG + linear(hidden_BH, self.threshold_hidden)).chunk(2, 1)
        diminished_BH = torch.where((low_BH < user_BH) & (user_BH < high_BH), self.weight * user_BH, user_BH)
        filtered_BH = torch.where(user_BH < low_BH, 0.0, diminished_BH)
        return self._update(inputs_BG + linear(filtered_BH, self.weight_user), hidden_BH)


class AttentionalCell(UserCell):
    """As the linear cell, of (1 - ξ) ⊙ i and ξ ⊙ v with the gate ξ = σ(T h + T i + T v) (eq. 8 to 10).

    The paper begins with parameters of ξ near zero "such that the network behaves similar to a
    standard GRU". Parameters near zero make ξ near σ(0) = 1/2, which halves both vectors; what a
    standard GRU is near to is ξ near 0. So the gate begins at `begin`, by its bias.
    """

    def __init__(self, units: int, begin: float) -> None:
        super().__init__(units)
        self.begin = begin
        self.gate_item = nn.Parameter(torch.empty(units, units))
        self.gate_user = nn.Parameter(torch.empty(units, units))
        self.gate_hidden = nn.Parameter(torch.empty(units, units))
        self.gate_bias = nn.Parameter(torch.empty(units))

    def initialise(self) -> None:
        """As the other cells, but for the gate: weights in ±.01, its bias such that σ(bias) is `begin`."""
        super().initialise()
        with torch.no_grad():
            for weight in (self.gate_item, self.gate_user, self.gate_hidden):
                weight.uniform_(-INITIAL_GATE_BOUND, INITIAL_GATE_BOUND)
            self.gate_bias.fill_(math.log(self.begin / (1 - self.begin)))

    def positions(self, item_NH: Tensor, user_NH: Tensor) -> Positions:
        """T i + T v of the gate ξ, i, and v."""
        gate_NH = linear(item_NH, self.gate_item, self.gate_bias) + linear(user_NH, self.gate_user)
        return gate_NH, item_NH, user_NH

    def gate(self, gate_BH: Tensor, hidden_BH: Tensor) -> Tensor:
        """ξ, the user's share, from what item and user add to it."""
        return torch.sigmoid(gate_BH + linear(hidden_BH, self.gate_hidden))

    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """One step."""
        gate_BH, item_BH, user_BH = positions
        share_BH = self.gate(gate_BH, hidden_BH)
        inputs_BG = linear((1 - share_BH) * item_BH, self.weight_item, self.bias)
        return self._update(inputs_BG + linear(share_BH * user_BH, self.weight_user), hidden_BH)
