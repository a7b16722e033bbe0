"""Text-GRU: title vectors → GRU → LSTM → GRU → linear → the items whose titles lie nearest.

Vera Pineda, Manzano Rodríguez, Fuentes Rodríguez: Sistema de Recomendación Secuencial usando
Redes Neuronales Recursivas, section 4.6, model II. No weight belongs to an item: its title's vector
is all that is known of it, so an item without a single event can be stepped over and listed.

Shapes: B sessions in the wave, N positions of a block, V items, D columns of a title vector,
H units of each layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from model.config import VECTOR_LOSSES, ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.network import NO_COLUMNS, Columns, GradientNetwork, State, StateField
from model.networks.recurrent_stack import LayerName, RecurrentStack, named_layers
from model.networks.title_vectors import title_space
from model.networks.vector_errors import PredictsVectors, VectorErrors

WITHOUT_TITLE = -2.0  # below every cosine: items without a title rank last


class TextGRU(GradientNetwork, PredictsVectors):
    """r_v = cos(y, e_v), y the linear layer's output, e_v item v's title vector.

    The e_v have length one, so the nearest by cosine are also the nearest by distance, whichever
    loss trained y. An item without a title has the vector zero: as an input it says nothing, as a
    target it teaches nothing, and it is listed last. `config.stack` names other layers.
    """

    input_table = output_table = "title_VD"
    bias_table = "bias_V"
    places_by_title = scores_by_direction = True

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items, units = len(vocabulary), config.hidden_size
        self._loss, self._seed = config.loss, config.seed
        self.has_own_loss = config.loss in VECTOR_LOSSES
        self.space = title_space(config)
        self.title_VD = nn.Parameter(torch.zeros(self.items, self.space.size), requires_grad=False)
        self.bias_V = nn.Parameter(torch.zeros(self.items), requires_grad=False)
        layers: list[tuple[LayerName, int]] = [("gru", units), ("lstm", units), ("gru", units)]
        if config.stack:
            layers = named_layers(config.stack)
        self.stack = RecurrentStack(self.space.size, layers, dropout=config.dropout_hidden)
        self.linear = nn.Linear(self.stack.width, self.space.size)

    def prepare_items(self, vocabulary: Vocabulary) -> None:
        """Place all items by their titles; fit the space to these titles if it has not been fitted."""
        titles = [vocabulary.titles.get(item, "") for item in vocabulary.decode(range(self.items))]
        self.space.fit([title for title in titles if title.strip()], self._seed)
        self.title_VD.data.copy_(torch.from_numpy(self.space.encode(titles)))
        self.bias_V.data.copy_(torch.where(self.title_VD.any(1), 0.0, WITHOUT_TITLE))

    def state_fields(self) -> tuple[StateField, ...]:
        """The hidden vector of each layer, and the cells of LSTMs."""
        return self.stack.state_fields()

    def output_of(self, state: State) -> Tensor | None:
        """y at length one, as `advance` returns it, B×D."""
        output_BH = self.stack.output_of(state)
        return None if output_BH is None else normalize(self.linear(output_BH))

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """One step of the layers, dropout after each, and of the linear one. Returns y, B×D."""
        output_BH, state = self.stack.step(rows_BE, state)
        return self.linear(output_BH), state

    def run_block(
        self, inputs: Columns, rows_NE: Tensor, batch_sizes_T: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """T packed steps of B lanes. Returns y, N×D, and each lane's state after its last step."""
        output_NH, state = self.stack.block(rows_NE, batch_sizes_T, state)
        return self.linear(output_NH), state

    def own_loss(self, output_NH: Tensor, target_N: Tensor) -> Tensor:
        """(y - e)² by its mean over D, or 1 - cos(y, e), by the mean over the targets with a title."""
        target_ND = self.title_VD[target_N]
        titled_N = target_ND.any(1)
        return (self._loss_of(output_NH, target_ND) * titled_N).sum() / titled_N.sum().clamp(min=1)

    def _loss_of(self, output_ND: Tensor, target_ND: Tensor) -> Tensor:
        if self._loss == "mse":
            return (output_ND - target_ND).square().mean(1)
        return 1 - (normalize(output_ND) * target_ND).sum(1)

    def errors(self, output_ND: Tensor, target_N: Tensor) -> VectorErrors:
        """The errors of each target; NaN for a target without a title."""
        target_ND = self.title_VD[target_N]
        untitled_N = ~target_ND.any(1)
        apart_ND = output_ND - target_ND
        found = self._loss_of(output_ND, target_ND), apart_ND.square().mean(1), apart_ND.abs().mean(1)
        return VectorErrors(*(part.masked_fill(untitled_N, torch.nan).cpu().numpy() for part in found))

    def predict(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """One step. Returns y, B×D, at the length that the linear layer gives it."""
        return super().advance(inputs, state)

    def listed_by(self, output_BD: Tensor) -> Tensor:
        """y at length one, whose products with the e_v are cosines."""
        return normalize(output_BD)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """One step without scoring. Returns y at length one."""
        output_BD, state = self.predict(inputs, state)
        return self.listed_by(output_BD), state
