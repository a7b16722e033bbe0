"""The multi-feature LSTM: item, brand, category and price of each event → LSTM blocks → softmax.

Silva, Cápiro, González: Recomendación Secuencial Colaborativa, Universidad de La Habana
(project report), section 4. Item, brand and category have embeddings, the price a dense layer;
concatenated, they go through blocks of LSTM, batch normalisation and dropout to a softmax over all
items. Sessions are packed, so there is no padding to mask.

Beyond the report: prices are scaled logarithms, and a missing price, brand or category has its own
learned vector.

Shapes: B sessions, N positions of a block, V items, E columns of the input table, H units.
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
from model.networks.recurrent_stack import RecurrentStack

CATEGORIES = ("brand", "category")


class FeatureLSTM(GradientNetwork):
    """r_v = h · e_v + b_v, h the output of the top block.

    It has `config.layers` blocks of `hidden_size` units. `embedding_size`, `brand_size`,
    `category_size` and `price_size` are the columns of the parts of the first block's input. With
    `config.embedding` tied, the item's input is its output vector.
    """

    columns = ("item", "brand", "category", "price")
    output_table, bias_table = "output_VH", "bias_V"

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        if config.embedding == "one-hot":
            raise NextclickError(
                "a feature-lstm has no one-hot input",
                "Its inputs are embeddings, concatenated.",
                "Set embedding to separate, or to tied.",
            )
        self.items = len(vocabulary)
        units = config.hidden_size
        self.output_VH = nn.Parameter(torch.empty(self.items, units))
        self.bias_V = nn.Parameter(torch.zeros(self.items))
        width = units
        if config.embedding == "tied":
            self.input_table = "output_VH"
        else:
            self.input_table = "input_VE"
            width = config.embedding_size or units
            self.input_VE = nn.Parameter(torch.empty(self.items, width))
        sizes = {"brand": config.brand_size, "category": config.category_size}
        features = vocabulary.features
        for name in CATEGORIES:
            # At least one row, so that it can be indexed when training knows no value.
            known = nn.Parameter(torch.empty(max(1, features.size(name)), sizes[name]))
            self.register_parameter(f"{name}_table", known)
            self.register_parameter(f"{name}_missing", nn.Parameter(torch.zeros(sizes[name])))
            self.feature_tables[f"{name}_table"] = name
        mean, deviation = features.price_scale or (0.0, 1.0)
        self.register_buffer("price_scale", torch.tensor([mean, deviation]))
        self.price_dense = nn.Linear(1, config.price_size)
        self.price_missing = nn.Parameter(torch.zeros(config.price_size))
        self.dropout_embedding = nn.Dropout(config.dropout_embedding)
        self.stack = RecurrentStack(
            width + sum(sizes.values()) + config.price_size,
            [("lstm", units)] * config.layers,
            batch_norm=True,
            dropout=config.dropout_hidden,
        )
        self.is_softmax = config.loss in SOFTMAX_LOSSES
        if config.prior_half_lives_s:
            self.prior = PopularityPrior(config.prior_half_lives_s, self.items)
        with torch.no_grad():
            for table in dict.fromkeys((self.output_table, self.input_table, *self.feature_tables)):
                rows = self.get_parameter(table)
                bound = math.sqrt(6 / sum(rows.shape))
                rows.uniform_(-bound, bound)

    def state_fields(self) -> tuple[StateField, ...]:
        """Hidden and cell state of each block's LSTM."""
        return self.stack.state_fields()

    def output_of(self, state: State) -> Tensor | None:
        """The stack's output."""
        return self.stack.output_of(state)

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """One step of each block."""
        return self.stack.step(self._concatenated(rows_BE, inputs), state)

    def run_block(
        self, inputs: Columns, rows_NE: Tensor, batch_sizes_T: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """All steps of the first block, then of the next."""
        return self.stack.block(self._concatenated(rows_NE, inputs), batch_sizes_T, state)

    def _concatenated(self, rows_NE: Tensor, inputs: Columns) -> Tensor:
        parts = [rows_NE]
        for name in CATEGORIES:
            codes_N = inputs[name]
            known = self.get_parameter(f"{name}_table")[codes_N.clamp(min=0)]
            missing = self.get_parameter(f"{name}_missing")
            parts.append(torch.where((codes_N >= 0)[:, None], known, missing))
        price_N1 = inputs["price"][:, None]
        mean, deviation = self.get_buffer("price_scale")
        # NaN must go before the product: its gradient would be NaN even where it is not chosen.
        scaled_N1 = (torch.log1p(price_N1.nan_to_num(0.0).clamp(min=0)) - mean) / deviation
        parts.append(torch.where(price_N1.isnan(), self.price_missing, self.price_dense(scaled_N1)))
        output: Tensor = self.dropout_embedding(torch.cat(parts, dim=1))
        return output
