"""The family of recurrent classifiers: item embedding → RNN, LSTM and GRU layers → softmax over items.

Vera Pineda, Manzano Rodríguez, Fuentes Rodríguez: Sistema de Recomendación Secuencial usando
Redes Neuronales Recursivas, 2024, model I (embedding 128, two LSTM 256, dropout .3, dense
softmax over 112,590 products) and the variants of its table 1. Written from the paper.

Shapes: B sessions, N events of a block, T its steps, V items, E columns of the embedding, H units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import SOFTMAX_LOSSES, ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.network import NO_COLUMNS, Columns, GradientNetwork, State, StateField
from model.networks.popularity_prior import PopularityPrior
from model.networks.recurrent_stack import LayerName, RecurrentStack, named_layers

EMBEDDING_SIZE = 128


class Recurrent(GradientNetwork):
    """p(v) = softmax(W h + b)_v, h the top layer's output; the embedding and W are two tables.

    The layers are `config.stack`, or `config.layers` times `config.cell` of `config.hidden_size`.
    """

    input_table, output_table, bias_table = "input_VE", "item_VH", "bias_V"

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        if config.embedding == "one-hot":
            raise NextclickError(
                "the network `recurrent` has no one-hot input",
                "Its input is an embedding of embedding_size.",
                "Leave embedding away, or choose gru4rec.",
            )
        self.items = len(vocabulary)
        columns = config.embedding_size or EMBEDDING_SIZE
        layers: list[tuple[LayerName, int]] = [(config.cell, config.hidden_size)] * config.layers
        if config.stack:
            layers = named_layers(config.stack)
        self.dropout_embedding = nn.Dropout(config.dropout_embedding)
        self.stack = RecurrentStack(
            columns, layers, batch_norm=config.batch_norm, dropout=config.dropout_hidden
        )
        # Rows are read and written one by one in training, never as a dense gradient.
        self.input_VE = nn.Parameter(torch.empty(self.items, columns).uniform_(-0.05, 0.05))
        bound = math.sqrt(6 / (self.items + self.stack.width))
        self.item_VH = nn.Parameter(torch.empty(self.items, self.stack.width).uniform_(-bound, bound))
        self.bias_V = nn.Parameter(torch.zeros(self.items))
        self.is_softmax = config.loss in SOFTMAX_LOSSES
        if config.prior_half_lives_s:
            self.prior = PopularityPrior(config.prior_half_lives_s, self.items)

    def state_fields(self) -> tuple[StateField, ...]:
        """The vectors of each layer: two for an LSTM, one for the others."""
        return self.stack.state_fields()

    def output_of(self, state: State) -> Tensor | None:
        """The stack's output."""
        return self.stack.output_of(state)

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """Run the layers for one event, with dropout before the first and after each."""
        return self.stack.step(self.dropout_embedding(rows_BE), state)

    def run_block(
        self, inputs: Columns, rows_NE: Tensor, batch_sizes_T: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run the layers over a packed block."""
        return self.stack.block(self.dropout_embedding(rows_NE), batch_sizes_T, state)
