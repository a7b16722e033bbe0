"""The one interface of all networks, so that each can be trained, evaluated and streamed.

`inputs` is a record of named columns. `state` is an opaque set of named tensors whose fixed shapes
the network describes. Callers know no network by name. A network learns by gradients
(`GradientNetwork`) or by counting (`CountingNetwork`).

Shapes: B sessions in the wave or lanes of a batch, T steps of a block, N positions of a block,
V items, E columns of the input table, H units of the output; N also scored neighbours.
Tested by tests/unit/model/networks/test_gru4rec.py and tests/unit/model/training/test_gradient_step.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.data.batches import Batch
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.item_scores import item_scores
from model.networks.popularity_prior import PopularityPrior

Columns = Mapping[str, Tensor]
State = dict[str, Tensor]
Scores = Tensor | tuple[Tensor, Tensor]
NO_COLUMNS: Columns = {}


@dataclass(frozen=True)
class StateField:
    """One tensor of a session's state: its name, its shape without B, its type and its initial value."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    initial: float = 0


class Network(nn.Module, ABC):
    """A network that takes one step per event.

    `columns` names the inputs it reads, by the event's field: "item" is int64 vocabulary indices,
    shape B; "brand", "category", "user_id" and "title" are int64 codes, -1 missing or unknown;
    "price" is float32, NaN missing; "event_time_ms" is int64, -1 missing.
    """

    columns: ClassVar[tuple[str, ...]] = ("item",)
    # Prefixes of the tensors whose sizes depend on the data; "" means all.
    sized_by_data: ClassVar[tuple[str, ...]] = ()
    # Prefixes of tensors that versions of earlier releases lack.
    added_later: ClassVar[tuple[str, ...]] = ()
    # Whether a training can go on from an earlier model's weights.
    goes_on: ClassVar[bool] = False
    items: int

    @abstractmethod
    def state_fields(self) -> tuple[StateField, ...]:
        """The tensors of one session's state."""

    @abstractmethod
    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """One step without scoring. Returns the output of the top layer, B×H, and the new state."""

    @abstractmethod
    def score(self, output_BH: Tensor) -> Scores:
        """Scores of all items, B×V, or (item indices, scores) of some. The caller may overwrite scores.

        Indices and scores are both B×N, no item twice in a row, padded with -1 / -inf.
        """

    @property
    def device(self) -> torch.device:
        """Where its tensors lie."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def output_of(self, state: State) -> Tensor | None:
        """The output of the top layer, B×H, that `advance` returned with this state.

        None for a network whose state cannot be compared with item vectors.
        """
        return None

    def scored_output_of(self, state: State) -> Tensor | None:
        """What `score` read after the step that ended in this state, B×H; None where the state lacks it."""
        return self.output_of(state)

    def initial_state(self, sessions: int, device: torch.device | None = None) -> State:
        """The state of sessions without an event."""
        return {
            field.name: torch.full((sessions, *field.shape), field.initial, dtype=field.dtype, device=device)
            for field in self.state_fields()
        }

    def carry(self, state: State, batch: Batch) -> State:
        """The initial states of the lanes of `batch`, from the states after the batch before it.

        `state` may be overwritten.
        """
        sources = batch.sources
        begins = sources < 0
        if begins.all() or not state:
            return self.initial_state(len(sources), self.device)
        lanes = np.arange(len(sources))
        chosen = np.where(begins, lanes, sources)
        if len(next(iter(state.values()))) != len(lanes) or (chosen != lanes).any():
            moved = torch.from_numpy(np.where(begins, 0, sources)).to(self.device)
            state = {name: tensor[moved] for name, tensor in state.items()}
        if begins.any():
            resets_R = torch.from_numpy(np.flatnonzero(begins)).to(self.device)
            for field in self.state_fields():
                state[field.name].index_fill_(0, resets_R, field.initial)
        return state

    def step(self, inputs: Columns, state: State) -> tuple[Scores, State]:
        """One incremental step. Returns the scores and the new state."""
        output_BH, state = self.advance(inputs, state)
        return self.score(output_BH), state


class GradientNetwork(Network):
    """A network that learns by gradients; training scores a batch's candidates.

    Tables are read and updated by rows. `input_table` and `output_table` name parameters of V
    rows (the same one when tied), `bias_table` one of V scalars; a table that requires no gradient
    never changes. `row_tables` are further tables, with a row for each value of a column;
    `feature_tables` too, but they are small and updated whole.
    """

    input_table: str
    output_table: str
    bias_table: str
    # Whether `own_loss` takes the place of the configured one.
    has_own_loss: bool = False
    goes_on = True
    # Whether an item that has a title but no event in training can be listed.
    places_by_title: ClassVar[bool] = False
    # Whether scores are products of vectors of length one; an item without a vector ranks last.
    scores_by_direction: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        # Set here: a class attribute would hide the module that a network assigns.
        self.prior: PopularityPrior | None = None
        self.row_tables: dict[str, str] = {}
        self.feature_tables: dict[str, str] = {}
        # Whether the scores of all items are the logarithms of a softmax, so that a cross-entropy exists.
        self.is_softmax = False

    @abstractmethod
    def run(self, rows_BE: Tensor, state: State, inputs: Columns = NO_COLUMNS) -> tuple[Tensor, State]:
        """One step from rows of the input table. Returns the output of the top layer, B×H, and new states.

        `inputs` has the other columns, and the rows of each of `row_tables` under its name.
        """

    def run_block(
        self, inputs: Columns, rows_NE: Tensor, batch_sizes_T: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """T packed steps of B lanes. Returns outputs, N×H, and each lane's state after its last step.

        This one runs step by step by `run`; recurrent layers override it to run all steps at once.
        """
        if len(batch_sizes_T) == 1:
            return self.run(rows_NE, state, inputs)
        outputs: list[Tensor] = []
        ended: list[State] = []
        at = 0
        for size in batch_sizes_T.tolist():
            ended.append({name: tensor[size:] for name, tensor in state.items()})
            state = {name: tensor[:size] for name, tensor in state.items()}
            now = {name: column[at : at + size] for name, column in inputs.items()}
            output_BH, state = self.run(rows_NE[at : at + size], state, now)
            outputs.append(output_BH)
            at += size
        # The longest lanes come first and end last.
        ended.append(state)
        last = {name: torch.cat([part[name] for part in reversed(ended)]) for name in state}
        return torch.cat(outputs), last

    def own_loss(self, output_NH: Tensor, target_N: Tensor) -> Tensor:
        """The mean loss of outputs against their target items, for a network with `has_own_loss`."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own")

    def complete_inputs(self, inputs: Columns, batch_sizes_T: Tensor, state: State) -> Columns:
        """The inputs of a packed block; values that events lack are filled in from their sessions."""
        return inputs

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """Look up the rows of the items and of further tables, and run."""
        if self.row_tables:
            inputs = self.complete_inputs(inputs, torch.tensor([len(inputs["item"])]), state)
            inputs = {**inputs, **self.rows_of(inputs)}
        return self.run(self.get_parameter(self.input_table)[inputs["item"]], state, inputs)

    def score(self, output_BH: Tensor, bias_V: Tensor | None = None) -> Tensor:
        """r_v = h · e_v + b_v + prior_v for all items, B×V; `bias_V` is b_v + prior_v if already summed."""
        if bias_V is None:
            bias_V = self.get_parameter(self.bias_table)
            if self.prior is not None:
                bias_V = bias_V + self.prior.bias()
        return item_scores(output_BH, self.get_parameter(self.output_table), bias_V)

    def add_row_table(self, name: str, column: str, rows: int, width: int) -> nn.Parameter:
        """Add a table of `rows` vectors, one for each value of `column`; the network initialises it.

        Index -1 reads their mean, the buffer `mean_` + name, which `finalize` sets.
        """
        # At least one row, so that it can be indexed when training knows no value.
        table = nn.Parameter(torch.zeros(max(1, rows), width))
        self.register_parameter(name, table)
        self.register_buffer(f"mean_{name}", torch.zeros(width))
        self.row_tables[name] = column
        return table

    def prepare_items(self, vocabulary: Vocabulary) -> None:
        """Set the items' vectors that are known before any event: none, or their titles' vectors.

        Called after the weights of an earlier model have been loaded.
        """

    @torch.no_grad()
    def finalize(self) -> None:
        """Set the tensors that depend on trained weights: the mean rows of `row_tables`."""
        for name in self.row_tables:
            self.get_buffer(f"mean_{name}").copy_(self.get_parameter(name).mean(0))

    def rows_of(self, inputs: Columns) -> dict[str, Tensor]:
        """The rows of each of `row_tables` that the inputs name."""
        rows = {}
        for name, column in self.row_tables.items():
            known = self.get_parameter(name)[inputs[column].clamp(min=0)]
            rows[name] = torch.where((inputs[column] >= 0)[:, None], known, self.get_buffer(f"mean_{name}"))
        return rows

    @property
    def tables(self) -> list[str]:
        """The parameters that are read and updated by rows, each once."""
        return list(dict.fromkeys((self.input_table, self.output_table, self.bias_table, *self.row_tables)))

    def counted_dimension(self, name: str) -> tuple[str, int] | None:
        """The column whose values ("item": the items) index the tensor `name`, and along which dimension."""
        if name in (self.input_table, self.output_table, self.bias_table):
            return "item", 0
        column = {**self.row_tables, **self.feature_tables}.get(name)
        if column is not None:
            return column, 0
        return ("item", 1) if name == "prior.counts_KV" else None

    def dense_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that every batch updates whole: all except the tables."""
        tables = self.tables
        return {name: p for name, p in self.named_parameters() if name not in tables and p.requires_grad}


class CountingNetwork(Network):
    """A network that learns in one pass over the sessions, without gradients.

    The sizes of its buffers may depend on the data.
    """

    sized_by_data = ("",)

    @abstractmethod
    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from sessions of known items; sessions of one event count too."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the buffers as saved; one that begins without rows, with any number of them.

        Raises RuntimeError when names or types differ, or the buffers do not fit each other.
        """
        mine = dict(self.named_buffers())
        if mine.keys() != state_dict.keys():
            raise RuntimeError(f"buffers {sorted(state_dict)} instead of {sorted(mine)}")
        for name, tensor in state_dict.items():
            if tensor.dtype != mine[name].dtype or tensor.ndim != mine[name].ndim:
                raise RuntimeError(f"{name} is {tensor.dtype} of {tensor.ndim} dimensions")
            if mine[name].numel() and tensor.shape != mine[name].shape:
                raise RuntimeError(f"{name} is {tuple(tensor.shape)}, not {tuple(mine[name].shape)}")
            self.register_buffer(name, tensor)
        fault = self.fault()
        if fault:
            raise RuntimeError(fault)
        return super().load_state_dict(state_dict, strict, assign)

    def fault(self) -> str:
        """Returns why a step could not use the buffers, "" when it can: a step checks no index."""
        return ""
