"""The columns of sessions that a network reads, as tensors, a batch's rows at a time.

Shapes: N positions.
Tested by tests/unit/model/data/test_features.py and test_batches.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.features import TIME
from model.data.sessions import Sessions
from model.errors import NextclickError
from model.networks.network import Network


class InputColumns:
    """The columns of `sessions` that `network` declares, on its device.

    Raises NextclickError when the sessions were read without one of these columns.
    """

    def __init__(self, network: Network, sessions: Sessions) -> None:
        self._device = network.device
        self._items = torch.from_numpy(sessions.items).to(self._device)
        further = [name for name in network.columns if name != "item"]
        columns = {TIME: sessions.times_ms, **sessions.columns}
        missing = [name for name in further if name not in columns]
        if missing:
            raise NextclickError(
                f"a {type(network).__name__} reads {', '.join(missing)}, and the sessions were read without",
                "Sessions on disk (--memory-map) and simulated cadences have items and times only.",
                "Read the log into memory, or choose a network that reads items alone.",
            )
        self._columns = {name: torch.from_numpy(columns[name]).to(self._device) for name in further}

    def at(self, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The network's inputs at `rows` of the sessions."""
        rows_N = torch.from_numpy(rows).to(self._device)
        inputs = {name: column[rows_N] for name, column in self._columns.items()}
        return {"item": self._items[rows_N].long(), **inputs}

    def targets(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """The items after `rows`."""
        return self._items[torch.from_numpy(rows + 1).to(self._device)].long()
