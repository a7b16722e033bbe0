"""Gated recurrent cells that read the user beside the item: linear, rectified linear, attentional.

Donkers, Loepp, Ziegler: Sequential User-based Recurrent Neural Network Recommendations,
RecSys 2017, equations 3 to 10, written from the paper. A cell computes the part of its equations
without hidden state for all positions of a block at once (`positions`), and then takes the steps
(`forward`). The affine maps T that an equation adds up share one bias, since the equation contains
only their sum.

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
    """The part that the three cells share: the maps of gates and update, and the leaky update.

    The rows of `weight_*` and `bias` belong to update gate u, reset gate r and state update k.
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
        """The tensors of N rows that `forward` needs of each position."""

    @abstractmethod
    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """The new hidden states, B×H, from rows of `positions` and hidden states."""

    def _update(self, inputs_BG: Tensor, hidden_BH: Tensor) -> Tensor:
        """h = (1 - u) ⊙ h + u ⊙ k (eq. 5); `inputs_BG` is the part of item and user in u, r and k, B×3H."""
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
    """The linear cell with a v that is shut off or diminished below two thresholds (eq. 6 and 7).

    v_l ← 0 where v_l < κ_1l, ω v_l where κ_1l < v_l < κ_2l, else v_l, with κ = T [h, i, v] and
    ω = `weight`. The arrow of equation 6 is read as holding for everything after it: gates and k. The
    map T of the thresholds occurs in comparisons only, which have no slope, so it is never trained.
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
    """The linear cell on (1 - ξ) ⊙ i and ξ ⊙ v with the gate ξ = σ(T h + T i + T v) (eq. 8 to 10).

    The paper starts with parameters of ξ near zero "such that the network behaves similar to a
    standard GRU". Parameters near zero make ξ near σ(0) = 1/2, which halves both vectors; a network
    like a standard GRU needs ξ near 0. So the bias sets the initial gate to `begin`.
    """

    def __init__(self, units: int, begin: float) -> None:
        super().__init__(units)
        self.begin = begin
        self.gate_item = nn.Parameter(torch.empty(units, units))
        self.gate_user = nn.Parameter(torch.empty(units, units))
        self.gate_hidden = nn.Parameter(torch.empty(units, units))
        self.gate_bias = nn.Parameter(torch.empty(units))

    def initialise(self) -> None:
        """As the other cells; the gate's weights are in ±.01, and σ of its bias is `begin`."""
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
        """ξ, the user's share; `gate_BH` is the part of item and user in it."""
        return torch.sigmoid(gate_BH + linear(hidden_BH, self.gate_hidden))

    def forward(self, positions: Positions, hidden_BH: Tensor) -> Tensor:
        """One step."""
        gate_BH, item_BH, user_BH = positions
        share_BH = self.gate(gate_BH, hidden_BH)
        inputs_BG = linear((1 - share_BH) * item_BH, self.weight_item, self.bias)
        return self._update(inputs_BG + linear(share_BH * user_BH, self.weight_user), hidden_BH)
