"""Recurrent layers on top of each other, run as a single step or as a packed block of steps.

Each layer is an LSTM (Hochreiter, Schmidhuber, Neural Computation 1997; its forget gate: Gers,
Schmidhuber, Cummins, 2000), a GRU (Cho et al., EMNLP 2014; the reset gate after the recurrent
product), a simple RNN (Elman, Cognitive Science 1990) or a linear layer; then comes batch
normalisation if configured, then dropout. A block runs layer by layer through torch's
layers on a packed sequence, so that the normalisation sees all its positions; a step
runs their cells with the same weights. In evaluation mode a block equals its steps one by one.

Shapes: B lanes, T steps, N positions of a block, I inputs of a layer, H units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.utils.rnn import PackedSequence

from model.config import CellName
from model.networks.network import State, StateField

LayerName = CellName | Literal["dense"]
LAYERS: dict[LayerName, type[nn.LSTM] | type[nn.GRU] | type[nn.RNN] | type[nn.Linear]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
    "dense": nn.Linear,
}


def named_layers(names: Sequence[str]) -> list[tuple[LayerName, int]]:
    """Layers by name as (cell, units).

    >>> named_layers(["lstm-256", "dense-312"])
    [('lstm', 256), ('dense', 312)]
    """
    named = [name.split("-") for name in names]
    return [(cast(LayerName, cell), int(units)) for cell, units in named]


class RecurrentStack(nn.Module):
    """`layers` are (cell, units) from the input up; `width` is the number of units of the top one.

    Its state is `hidden0`, `cell0` (of an LSTM), `hidden1`…

    Initial weights are uniform in ±sqrt(6 / (rows + columns)) for each gate's matrix; biases are 0,
    except an LSTM's forget gate, which starts open at 1.
    """

    def __init__(
        self,
        inputs: int,
        layers: Sequence[tuple[LayerName, int]],
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kinds = [cell for cell, _ in layers]
        self.units = [units for _, units in layers]
        self.width = self.units[-1]
        widths = [inputs, *self.units]
        self.layers = nn.ModuleList(
            [LAYERS[cell](width, units) for (cell, units), width in zip(layers, widths, strict=False)]
        )
        self.norms = nn.ModuleList([PositionNorm(units) for units in self.units] if batch_norm else [])
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for layer, kind, units in zip(self.layers, self.kinds, self.units, strict=True):
                for name, parameter in layer.named_parameters():
                    if "bias" in name:
                        parameter.zero_()
                    else:
                        bound = math.sqrt(6 / (units + parameter.shape[1]))
                        parameter.uniform_(-bound, bound)
                if kind == "lstm":
                    layer.get_parameter("bias_ih_l0")[units : 2 * units] = 1.0

    def state_fields(self) -> tuple[StateField, ...]:
        """One vector of units for each layer, two for an LSTM, none for a dense layer."""
        fields: list[StateField] = []
        for number, (kind, units) in enumerate(zip(self.kinds, self.units, strict=True)):
            if kind != "dense":
                fields.append(StateField(f"hidden{number}", (units,)))
            if kind == "lstm":
                fields.append(StateField(f"cell{number}", (units,)))
        return tuple(fields)

    def step(self, input_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """One step. Returns the output of the top layer, B×H, and new states."""
        after: State = {}
        for number, (kind, layer) in enumerate(zip(self.kinds, self.layers, strict=True)):
            if kind == "dense":
                input_BI = self._normalised(number, layer(input_BI))
                continue
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            weights = [layer.get_parameter(name) for name in names]
            hidden = state[f"hidden{number}"]
            if kind == "lstm":
                hidden, after[f"cell{number}"] = torch.lstm_cell(
                    input_BI, (hidden, state[f"cell{number}"]), *weights
                )
            else:
                cell = torch.gru_cell if kind == "gru" else torch.rnn_tanh_cell
                hidden = cell(input_BI, hidden, *weights)
            after[f"hidden{number}"] = hidden
            input_BI = self._normalised(number, hidden)
        return input_BI, after

    def output_of(self, state: State) -> Tensor | None:
        """The output of the step that ended in this state, B×H; None if no layer has a state."""
        output_BH: Tensor | None = None
        for number, (kind, layer) in enumerate(zip(self.kinds, self.layers, strict=True)):
            if kind != "dense":
                output_BH = self._normalised(number, state[f"hidden{number}"])
            elif output_BH is not None:
                output_BH = self._normalised(number, layer(output_BH))
        return output_BH

    def block(self, input_NI: Tensor, batch_sizes_T: Tensor, state: State) -> tuple[Tensor, State]:
        """T packed steps of B lanes. Returns outputs, N×H, and each lane's state after its last step."""
        if len(batch_sizes_T) == 1:
            return self.step(input_NI, state)
        after: State = {}
        for number, (kind, layer) in enumerate(zip(self.kinds, self.layers, strict=True)):
            if kind == "dense":
                input_NI = self._normalised(number, layer(input_NI))
                continue
            packed = PackedSequence(input_NI, batch_sizes_T)
            before = state[f"hidden{number}"][None]
            if kind == "lstm":
                output, (hidden, cell) = layer(packed, (before, state[f"cell{number}"][None]))
                after[f"cell{number}"] = cell[0]
            else:
                output, hidden = layer(packed, before)
            after[f"hidden{number}"] = hidden[0]
            input_NI = self._normalised(number, output.data)
        return input_NI, after

    def _normalised(self, number: int, output: Tensor) -> Tensor:
        if self.norms:
            output = self.norms[number](output)
        return self.dropout(output)  # type: ignore[no-any-return]


class PositionNorm(nn.BatchNorm1d):
    """Batch normalisation over positions (Ioffe, Szegedy, ICML 2015).

    Training uses the mean and variance of the batch, which move the running ones; evaluation, and a
    single position, which has no variance, use the running ones. Each of several training processes
    has its own running values; the first process saves its values.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each unit of positions × units."""
        if self.training and len(input) == 1:
            return batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)
