"""Moves a wave to its device and back: one copy each way, whatever the number of its arrays.

A copy costs a call, and one from pageable memory, or back to it, a wait as well. So the arrays of a wave
lie one after the other in one block, pinned where the device is a GPU, and are cut out of it on the other
side. On the CPU nothing is copied.

Shapes: B sessions in the wave, R bytes of a packed state, M masked items.
Tested by tests/unit/model/training/test_device.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.network import State
from model.stepping.state_layout import Rows, StateLayout

ALIGNMENT = 16  # bytes; of no type that a wave has more


class Sent(NamedTuple):
    """A wave on its device: inputs by column, the sessions' states, and masked items, B×M."""

    inputs: dict[str, Tensor]
    state: State
    masked_BM: Tensor | None


class WaveCopies:
    """Copies of waves between the CPU and `device`; `layout` says how states lie in a row."""

    def __init__(self, device: torch.device, layout: StateLayout) -> None:
        self._device, self._layout = device, layout
        self._stays = device.type == "cpu"

    def send_columns(self, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
        """The inputs of a wave alone."""
        return dict(zip(columns, self._sent(list(columns.values())), strict=True))

    def send_state(self, rows: Rows) -> State:
        """The states of packed rows, B×R, alone."""
        return self.send({}, rows, None).state

    def send(
        self, columns: Mapping[str, npt.NDArray[Any]], rows: Rows, exclude: npt.NDArray[np.int64] | None
    ) -> Sent:
        """Inputs, packed states B×R, and items to leave out, B×M. Raises ValueError for other states."""
        if self._stays:
            masked = None if exclude is None else torch.from_numpy(exclude)
            return Sent(self.send_columns(columns), self._layout.unpack(rows), masked)
        rows_BR, *rest = self._sent([rows, *columns.values(), *([] if exclude is None else [exclude])])
        inputs = dict(zip(columns, rest, strict=False))
        return Sent(inputs, self._layout.unpack_on_device(rows_BR), None if exclude is None else rest[-1])

    def receive(
        self, found: Sequence[Tensor], state: State, sessions: int
    ) -> tuple[list[npt.NDArray[Any]], Rows]:
        """The arrays of `found`, and the packed states of so many sessions, B×R: one wait for the device.

        The larger the elements of a tensor, the earlier it is to come.
        """
        if self._stays:
            return [tensor.numpy() for tensor in found], self._layout.pack(state, sessions)
        *arrays, rows = self._received([*found, self._layout.pack_on_device(state, sessions, self._device)])
        return arrays, rows

    def _sent(self, arrays: list[npt.NDArray[Any]]) -> list[Tensor]:
        if self._stays:
            return [torch.from_numpy(array) for array in arrays]
        sizes = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]
        begins = [0, *accumulate(sizes)]
        block = torch.empty(begins[-1], dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        host = block.numpy()
        for array, begin in zip(arrays, begins, strict=False):
            host[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        # Pinned memory is kept by torch's allocator until the copy has been made.
        there = block.to(self._device, non_blocking=True)
        return [
            there[begin : begin + array.nbytes]
            .view(torch.from_numpy(np.empty(0, array.dtype)).dtype)
            .view(array.shape)
            for array, begin in zip(arrays, begins, strict=False)
        ]

    def _received(self, tensors: list[Tensor]) -> list[npt.NDArray[Any]]:
        block = torch.cat([tensor.contiguous().view(torch.uint8).flatten() for tensor in tensors])
        if self._device.type == "cuda":
            pinned = torch.empty(len(block), dtype=torch.uint8, pin_memory=True)
            pinned.copy_(block, non_blocking=True)
            torch.cuda.current_stream(self._device).synchronize()
            # Pinned memory is scarce, and states are kept.
            host = pinned.numpy().copy()
        else:
            host = block.cpu().numpy()
        arrays: list[npt.NDArray[Any]] = []
        begin = 0
        for tensor in tensors:
            end = begin + tensor.numel() * tensor.element_size()
            dtype = torch.empty(0, dtype=tensor.dtype).numpy().dtype
            arrays.append(host[begin:end].view(dtype).reshape(tensor.shape))
            begin = end
        return arrays
