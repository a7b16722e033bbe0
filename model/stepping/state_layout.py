"""A session's state tensors as the bytes of one row: what a store keeps.

Shapes: B sessions, R = row_bytes bytes of a packed state.
Tested by tests/unit/model/stepping/test_stepper.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.network import Network, State

Rows = npt.NDArray[np.uint8]


class StateLayout:
    """How a network's named state tensors lie in the `row_bytes` bytes of a session.

    >>> from model.config import ModelConfig
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.gru4rec import GRU4Rec
    >>> network = GRU4Rec(ModelConfig(hidden_size=4), Vocabulary(["a"], np.array([1])))
    >>> layout = StateLayout(network)
    >>> layout.row_bytes, layout.pack(network.initial_state(3), sessions=3).shape
    (16, (3, 16))
    """

    def __init__(self, network: Network) -> None:
        self._fields = network.state_fields()
        self._sizes = [
            int(np.prod(f.shape, dtype=np.int64)) * torch.empty(0, dtype=f.dtype).element_size()
            for f in self._fields
        ]
        self.row_bytes = sum(self._sizes)

    def pack_on_device(self, state: State, sessions: int, device: torch.device) -> Tensor:
        """As `pack`, uint8, B×R, where the state's tensors lie."""
        parts = [state[field.name].contiguous().flatten(1).view(torch.uint8) for field in self._fields]
        return torch.cat(parts, 1) if parts else torch.zeros((sessions, 0), dtype=torch.uint8, device=device)

    def pack(self, state: State, sessions: int) -> Rows:
        """The state of `sessions` sessions as uint8, B×R."""
        if not self._fields:
            return np.zeros((sessions, 0), np.uint8)
        parts = [state[f.name].contiguous().cpu().flatten(1).view(torch.uint8).numpy() for f in self._fields]
        return parts[0] if len(parts) == 1 else np.ascontiguousarray(np.concatenate(parts, axis=1))

    def unpack(self, rows: Rows) -> State:
        """The state of B sessions, on the CPU, from uint8, B×R. Raises ValueError for other rows."""
        self._check(rows.shape[1])
        state: State = {}
        at = 0
        for f, size in zip(self._fields, self._sizes, strict=True):
            part = np.array(rows[:, at : at + size])
            state[f.name] = torch.from_numpy(part).view(f.dtype).reshape(-1, *f.shape)
            at += size
        return state

    def unpack_on_device(self, rows_BR: Tensor) -> State:
        """As `unpack`, where the rows lie."""
        self._check(rows_BR.shape[1])
        parts = torch.split(rows_BR, self._sizes, 1)
        return {
            # A copy, since a part of a single row would begin where its type may not.
            field.name: part.clone(memory_format=torch.contiguous_format)
            .view(field.dtype)
            .reshape(-1, *field.shape)
            for field, part in zip(self._fields, parts, strict=True)
        }

    def _check(self, row_bytes: int) -> None:
        if row_bytes != self.row_bytes:
            raise ValueError(f"a packed state has {row_bytes} bytes, this network's have {self.row_bytes}")
