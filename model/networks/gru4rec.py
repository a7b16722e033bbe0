"""GRU4Rec: item embedding → GRU layers → scores of all items, with tied embeddings.

Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural
Networks, ICLR 2016; the tied ("constrained") item embedding, sampled loss and extra
negatives: Hidasi, Karatzoglou: Recurrent Neural Networks with Top-k Gains for
Session-based Recommendations, CIKM 2018. Written from the papers.

Shapes: B sessions, V items, H units, L layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.network import Columns, Network, State, StateField


class GRU4Rec(Network):
    """The item embedding is both the GRU's input and, tied, the output's item vectors.

    score_v = h · e_v + b_v (CIKM 2018, section 3.3).
    """

    def __init__(self, config: ModelConfig, items: int) -> None:
        super().__init__()
        self.items = items
        self.hidden_size = config.hidden_size
        self.layers = config.layers
        self.dropout_embedding = nn.Dropout(config.dropout_embedding)
        self.dropout_hidden = nn.Dropout(config.dropout_hidden)
        units = config.hidden_size
        # Rows are read and written one by one in training, never as a dense gradient.
        self.item_VH = nn.Parameter(torch.empty(items, units))
        self.bias_V = nn.Parameter(torch.zeros(items))
        self.cells = nn.ModuleList(nn.GRUCell(units, units) for _ in range(config.layers))
        self._initialise()

    def _initialise(self) -> None:
        """Uniform in ±sqrt(6 / (rows + columns)) for each matrix, zero biases."""
        with torch.no_grad():
            bound = math.sqrt(6 / (self.items + self.hidden_size))
            self.item_VH.uniform_(-bound, bound)
            bound = math.sqrt(6 / (2 * self.hidden_size))
            for cell in self.cells:
                for name, parameter in cell.named_parameters():
                    parameter.zero_() if "bias" in name else parameter.uniform_(-bound, bound)

    def state_fields(self) -> tuple[StateField, ...]:
        """One vector of H units per layer."""
        return (StateField("hidden", (self.layers, self.hidden_size)),)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """Embed the item and run the cells."""
        output_BH, hidden_BLH = self.run_cells(self.item_VH[inputs["item"]], state["hidden"])
        return output_BH, {"hidden": hidden_BLH}

    def run_cells(self, embedded_BH: Tensor, hidden_BLH: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded items and hidden states → output of the top layer and new hidden states."""
        output_BH = self.dropout_embedding(embedded_BH)
        after: list[Tensor] = []
        for layer, cell in enumerate(self.cells):
            output_BH = cell(output_BH, hidden_BLH[:, layer])
            after.append(output_BH)
            output_BH = self.dropout_hidden(output_BH)
        return output_BH, torch.stack(after, dim=1)

    def score(self, output_BH: Tensor) -> Tensor:
        """Scores of all items, B×V."""
        return torch.addmm(self.bias_V, output_BH, self.item_VH.t())
