"""GRU4Rec: item embedding → GRU layers → scores of all items.

Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural
Networks, ICLR 2016 (one-hot input, losses, session-parallel batches); Hidasi, Karatzoglou:
Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, CIKM 2018
(extra negatives, constrained embeddings, section 3.3). Written from the papers.

Shapes: B sessions, V items, E columns of the input table, H units, L layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import SOFTMAX_LOSSES, ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.network import NO_COLUMNS, Columns, GradientNetwork, State, StateField
from model.networks.popularity_prior import PopularityPrior


class GRU4Rec(GradientNetwork):
    """r_v = h · e_v + b_v, h the top layer's hidden state.

    The item's input is, by `config.embedding`: tied, its output vector e_v; separate, another
    embedding of `embedding_size`; one-hot, its column of the first layer's input weights, which is
    a row of 3H gate inputs.
    """

    output_table, bias_table = "item_VH", "bias_V"

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.hidden_size = config.hidden_size
        self.layers = config.layers
        self.dropout_embedding = nn.Dropout(config.dropout_embedding)
        self.dropout_hidden = nn.Dropout(config.dropout_hidden)
        units = config.hidden_size
        # Rows are read and written one by one in training, never as a dense gradient.
        self.item_VH = nn.Parameter(torch.empty(self.items, units))
        self.bias_V = nn.Parameter(torch.zeros(self.items))
        width = units
        if config.embedding != "tied":
            width = 3 * units if config.embedding == "one-hot" else config.embedding_size or units
            self.input_VE = nn.Parameter(torch.empty(self.items, width))
        self.input_table = "item_VH" if config.embedding == "tied" else "input_VE"
        first = OneHotGRUCell(units) if config.embedding == "one-hot" else nn.GRUCell(width, units)
        self.cells = nn.ModuleList([first, *(nn.GRUCell(units, units) for _ in range(config.layers - 1))])
        self.is_softmax = config.loss in SOFTMAX_LOSSES
        if config.prior_half_lives_s:
            self.prior = PopularityPrior(config.prior_half_lives_s, self.items)
        self._initialise()

    def _initialise(self) -> None:
        """Uniform in ±sqrt(6 / (rows + columns)) for each matrix, zero biases."""
        with torch.no_grad():
            for table in {self.output_table: None, self.input_table: None}:
                rows_VE = self.get_parameter(table)
                bound = math.sqrt(6 / sum(rows_VE.shape))
                rows_VE.uniform_(-bound, bound)
            for cell in self.cells:
                for name, parameter in cell.named_parameters():
                    if "bias" in name:
                        parameter.zero_()
                    else:
                        bound = math.sqrt(6 / (parameter.shape[0] // 3 + parameter.shape[1]))
                        parameter.uniform_(-bound, bound)

    def state_fields(self) -> tuple[StateField, ...]:
        """One vector of H units per layer."""
        return (StateField("hidden", (self.layers, self.hidden_size)),)

    def output_of(self, state: State) -> Tensor:
        """The top layer's hidden vector."""
        return state["hidden"][:, -1]

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """Run the layers, with dropout before the first and after each."""
        hidden_BLH = state["hidden"]
        output_BH = self.dropout_embedding(rows_BE)
        after: list[Tensor] = []
        for layer, cell in enumerate(self.cells):
            output_BH = cell(output_BH, hidden_BLH[:, layer])
            after.append(output_BH)
            output_BH = self.dropout_hidden(output_BH)
        return output_BH, {"hidden": torch.stack(after, dim=1)}


class OneHotGRUCell(nn.Module):
    """A GRU cell whose input is a row of its input weights: W x of a one-hot x (ICLR 2016, eq. 1 to 4)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight_hh = nn.Parameter(torch.empty(3 * units, units))
        self.bias_hh = nn.Parameter(torch.zeros(3 * units))
        self.bias_ih = nn.Parameter(torch.zeros(3 * units))

    def forward(self, gates_BG: Tensor, hidden_BH: Tensor) -> Tensor:
        """The new hidden states, B×H, from gate inputs, B×3H (reset, update, new), and hidden states."""
        reset_BH, update_BH, new_BH = (gates_BG + self.bias_ih).chunk(3, 1)
        recurrent = torch.addmm(self.bias_hh, hidden_BH, self.weight_hh.t()).chunk(3, 1)
        reset_BH = torch.sigmoid(reset_BH + recurrent[0])
        update_BH = torch.sigmoid(update_BH + recurrent[1])
        new_BH = torch.tanh(new_BH + reset_BH * recurrent[2])
        return new_BH + update_BH * (hidden_BH - new_BH)
