"""User-based GRUs: item and user vectors → gated cells that read both → scores of all items.

Donkers, Loepp, Ziegler: Sequential User-based Recurrent Neural Network Recommendations,
RecSys 2017, written from the paper; the cells are in `user_cells`. A session keeps its user: an
event without a user, or with one that training has not seen, belongs to the user of the event
before it. A session without a known user has the mean of all user vectors, and with
`config.without_users` all sessions do: the same cell, initialisation and dropout without users.

Shapes: B sessions, T steps of a block, N positions of a block, V items, Y users, H units, L layers.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from model.config import SOFTMAX_LOSSES, ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.network import NO_COLUMNS, Columns, GradientNetwork, State, StateField
from model.networks.popularity_prior import PopularityPrior
from model.networks.user_cells import INITIAL_BOUND, AttentionalCell, LinearCell, RectifiedCell, UserCell


class UserGRU(GradientNetwork):
    """o = T h (eq. 1) of the top layer's hidden state; each layer reads the user beside its input.

    Item and user vectors have H columns, as in the paper. By `config.embedding`, the item's input
    vector is a separate one, as published, or its output vector (tied).
    """

    columns = ("item", "user_id")
    output_table, bias_table = "item_VH", "bias_V"
    user_YH: nn.Parameter
    mean_user_YH: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        _check(config)
        self.items = len(vocabulary)
        self.without_users = config.without_users
        self.hidden_size, self.layers = config.hidden_size, config.layers
        self.dropout_item = nn.Dropout(config.dropout_embedding)
        self.dropout_user = nn.Dropout(config.dropout_user)
        self.dropout_hidden = nn.Dropout(config.dropout_hidden)
        units = config.hidden_size
        self.item_VH = nn.Parameter(torch.empty(self.items, units))
        self.bias_V = nn.Parameter(torch.empty(self.items))
        if config.embedding == "separate":
            self.input_VH = nn.Parameter(torch.empty(self.items, units))
        self.input_table = "input_VH" if config.embedding == "separate" else "item_VH"
        self.add_row_table("user_YH", "user_id", vocabulary.features.size("user_id"), units)
        cells = [self.make_cell(config) for _ in range(config.layers)]
        self.cells = nn.ModuleList(cells)
        self.is_softmax = config.loss in SOFTMAX_LOSSES
        if config.prior_half_lives_s:
            self.prior = PopularityPrior(config.prior_half_lives_s, self.items)
        with torch.no_grad():
            for name in self.tables:
                self.get_parameter(name).uniform_(-INITIAL_BOUND, INITIAL_BOUND)
        for cell in cells:
            cell.initialise()

    @abstractmethod
    def make_cell(self, config: ModelConfig) -> UserCell:
        """The cell of one layer."""

    def state_fields(self) -> tuple[StateField, ...]:
        """One vector of H units per layer, and the user's index, -1 while none is known."""
        hidden = StateField("hidden", (self.layers, self.hidden_size))
        return (hidden, StateField("user", (1,), torch.int64, initial=-1))

    def output_of(self, state: State) -> Tensor:
        """The top layer's hidden vector."""
        return state["hidden"][:, -1]

    def complete_inputs(self, inputs: Columns, batch_sizes_T: Tensor, state: State) -> Columns:
        """Give an event without a known user the user of its session."""
        given_N = inputs["user_id"]
        if self.without_users:
            return {**inputs, "user_id": torch.full_like(given_N, -1)}
        # On another device the processor would wait for the answer.
        if given_N.device.type == "cpu" and bool((given_N >= 0).all()):
            return inputs
        user_B = state["user"][:, 0]
        users: list[Tensor] = []
        for given_B in _by_step(given_N, batch_sizes_T.tolist()):
            user_B = torch.where(given_B >= 0, given_B, user_B[: len(given_B)])
            users.append(user_B)
        return {**inputs, "user_id": torch.cat(users)}

    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """One step, as a block of one."""
        return self.run_block(inputs, rows_BE, torch.tensor([len(rows_BE)]), state)

    def run_block(
        self, inputs: Columns, rows_NE: Tensor, batch_sizes_T: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run each layer for all steps, with dropout before the first and after each."""
        sizes = batch_sizes_T.tolist()
        user_NH = self.dropout_user(inputs["user_YH"])
        output_NH = self.dropout_item(rows_NE)
        after: list[Tensor] = []
        for layer, cell in enumerate(self.cells):
            outputs, last_BH = _steps(cell, output_NH, user_NH, sizes, state["hidden"][:, layer])
            after.append(last_BH)
            output_NH = self.dropout_hidden(outputs)
        user_B = _last(_by_step(inputs["user_id"], sizes))
        return output_NH, {"hidden": torch.stack(after, 1), "user": user_B[:, None]}


class LinearUserGRU(UserGRU):
    """Linear user integration (section 3.2.1)."""

    def make_cell(self, config: ModelConfig) -> UserCell:
        """Equations 3 to 5."""
        return LinearCell(config.hidden_size)


class RectifiedUserGRU(UserGRU):
    """Rectified linear user integration (section 3.2.2)."""

    def make_cell(self, config: ModelConfig) -> UserCell:
        """Equations 6 and 7."""
        return RectifiedCell(config.hidden_size, config.user_weight)


class AttentionalUserGRU(UserGRU):
    """Attentional user integration (section 3.2.3)."""

    def make_cell(self, config: ModelConfig) -> UserCell:
        """Equations 8 to 10."""
        return AttentionalCell(config.hidden_size, config.user_gate)


def _steps(
    cell: nn.Module, input_NH: Tensor, user_NH: Tensor, sizes: list[int], hidden_BH: Tensor
) -> tuple[Tensor, Tensor]:
    """One layer's outputs, N×H, and each lane's hidden state after its last step."""
    assert isinstance(cell, UserCell)
    positions = cell.positions(input_NH, user_NH)
    if len(sizes) == 1:
        hidden_BH = cell(positions, hidden_BH)
        return hidden_BH, hidden_BH
    outputs: list[Tensor] = []
    for now in zip(*(_by_step(part, sizes) for part in positions), strict=True):
        hidden_BH = cell(now, hidden_BH[: len(now[0])])
        outputs.append(hidden_BH)
    return torch.cat(outputs), _last(outputs)


def _by_step(packed_N: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """The rows of a packed block, step by step."""
    return torch.split(packed_N, sizes)


def _last(steps: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Each lane's row of its last step; lanes are in order of length, the longest first."""
    ended = [now[len(following) :] for now, following in zip(steps, [*steps[1:], steps[-1][:0]], strict=True)]
    return torch.cat(ended[::-1])


def _check(config: ModelConfig) -> None:
    """Raise NextclickError when settings ask for vectors that do not fit the equations."""
    wrong = []
    if config.embedding_size not in (None, config.hidden_size):
        wrong.append(f"embedding_size = {config.embedding_size}")
    if config.embedding == "one-hot":
        wrong.append("embedding = one-hot")
    if wrong:
        raise NextclickError(
            f"{config.network} has no {', '.join(wrong)}",
            "Its item and user vectors are weighed unit by unit: they have hidden_size columns.",
            "Leave the sizes out, and set embedding to separate or tied.",
        )
