"""The one interface of all networks, so that each can be trained, evaluated and streamed.

`inputs` is a record of named columns, `state` an opaque set of named tensors of fixed
shape that the network describes. Callers know no network by name. A network learns by
gradients (`SampledNetwork`) or by counting (`Counted`).

Shapes: B sessions in the wave, V items, E columns of the input table, H units of the
output, N scored neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.batches import Batch
from model.config import ModelConfig
from model.recency import PopularityPrior
from model.scoring import score_all
from model.sessions import Sessions
from model.vocabulary import Vocabulary

Columns = Mapping[str, Tensor]
State = dict[str, Tensor]
Scores = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class StateField:
    """One tensor of a session's state: its name, its shape without B, its type and its first value."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    initial: float = 0


class Network(nn.Module, ABC):
    """A network that takes one step per event.

    `columns` names the inputs it reads; "item" is int64 vocabulary indices, shape B.
    """

    columns: ClassVar[tuple[str, ...]] = ("item",)
    items: int

    @abstractmethod
    def state_fields(self) -> tuple[StateField, ...]:
        """The tensors of one session's state."""

    @abstractmethod
    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """One step without scoring: → output of the top layer, shape B×H, and the new state."""

    @abstractmethod
    def score(self, output_BH: Tensor) -> Scores:
        """Scores of all items, B×V, which the caller may overwrite; or (item indices, scores) of some.

        Indices and scores are both B×N, no item twice in a row, padded with -1 / -inf.
        """

    def initial_state(self, sessions: int, device: torch.device | None = None) -> State:
        """The state of sessions that have no event yet."""
        return {
            field.name: torch.full((sessions, *field.shape), field.initial, dtype=field.dtype, device=device)
            for field in self.state_fields()
        }

    def carry(self, state: State, batch: Batch) -> State:
        """The states that the lanes of `batch` begin with, from those after the batch before it.

        `state` may be overwritten.
        """
        if batch.resets.all():
            return self.initial_state(len(batch.rows))
        if not batch.kept.all():
            kept = torch.from_numpy(batch.kept)
            state = {name: tensor[kept] for name, tensor in state.items()}
        if batch.resets.any():
            resets = torch.from_numpy(batch.resets)
            for field in self.state_fields():
                state[field.name][resets] = field.initial
        return state

    def step(self, inputs: Columns, state: State) -> tuple[Scores, State]:
        """One incremental step: → scores and the new state."""
        output_BH, state = self.advance(inputs, state)
        return self.score(output_BH), state


class SampledNetwork(Network):
    """A network that learns by gradients, its items scored against a batch's candidates.

    The item tables are read and updated by rows. `input_table` and `output_table` name
    parameters of V rows (the same one when tied), `bias_table` one of V scalars.
    """

    input_table: str
    output_table: str
    bias_table: str

    def __init__(self) -> None:
        super().__init__()
        # Set here: a class attribute would hide the module that a network puts in its place.
        self.prior: PopularityPrior | None = None

    @abstractmethod
    def run(self, rows_BE: Tensor, state: State) -> tuple[Tensor, State]:
        """Rows of the input table and states → output of the top layer, B×H, and new states."""

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """Look the items' rows up and run."""
        return self.run(self.get_parameter(self.input_table)[inputs["item"]], state)

    def score(self, output_BH: Tensor, bias_V: Tensor | None = None) -> Tensor:
        """r_v = h · e_v + b_v + prior_v for all items, B×V; `bias_V` is b_v + prior_v where it is known."""
        if bias_V is None:
            bias_V = self.get_parameter(self.bias_table)
            if self.prior is not None:
                bias_V = bias_V + self.prior.bias()
        return score_all(output_BH, self.get_parameter(self.output_table), bias_V)

    def item_dimension(self, name: str) -> int | None:
        """Which dimension of the tensor `name` counts items, None when none does."""
        if name in (self.input_table, self.output_table, self.bias_table):
            return 0
        return 1 if name == "prior.counts_KV" else None

    def dense_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that every batch updates whole: all but the item tables."""
        tables = {self.input_table, self.output_table, self.bias_table}
        return {name: p for name, p in self.named_parameters() if name not in tables}


class Counted(Network):
    """A network that learns in one pass over the sessions, without gradients.

    Its buffers may have sizes that only the data say.
    """

    @abstractmethod
    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from sessions of known items; sessions of one event count too."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take the buffers as they are saved. Raises RuntimeError when names or types differ."""
        mine = dict(self.named_buffers())
        if mine.keys() != state_dict.keys():
            raise RuntimeError(f"buffers {sorted(state_dict)} instead of {sorted(mine)}")
        for name, tensor in state_dict.items():
            if tensor.dtype != mine[name].dtype or tensor.ndim != mine[name].ndim:
                raise RuntimeError(f"{name} is {tensor.dtype} of {tensor.ndim} dimensions")
            self.register_buffer(name, tensor)
        return super().load_state_dict(state_dict, strict, assign)
