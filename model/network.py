"""The one interface of all networks, so that each can be trained, evaluated and streamed.

`inputs` is a record of named columns, `state` an opaque set of named tensors of fixed
shape that the network describes. Callers know no network by name.

Shapes: B sessions in the wave, V items, H units of the output, N scored neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

Columns = Mapping[str, Tensor]
State = dict[str, Tensor]
Scores = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class StateField:
    """One tensor of a session's state: its name, its shape without B, its type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


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
        """Scores of all items, shape B×V; or (item indices, scores), both B×N."""

    def initial_state(self, sessions: int, device: torch.device | None = None) -> State:
        """The state of sessions that have no event yet: zeros."""
        return {
            field.name: torch.zeros((sessions, *field.shape), dtype=field.dtype, device=device)
            for field in self.state_fields()
        }

    def step(self, inputs: Columns, state: State) -> tuple[Scores, State]:
        """One incremental step: → scores and the new state."""
        output_BH, state = self.advance(inputs, state)
        return self.score(output_BH), state
