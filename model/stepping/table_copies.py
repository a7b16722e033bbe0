"""Item tables of a device that follow those of the CPU: a refresh sends the rows that moved, not the table.

Shapes: V items in use, R rows that moved, W rows of room, E columns of a table.
Tested by tests/unit/model/training/test_device.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROOM = 1.25  # of what is in use, when a copy is made anew


class TableCopies:
    """Copies of tables on `device`, by name; on the CPU the tables themselves.

    >>> copies = TableCopies(torch.device("cpu"))
    >>> copies.update("item_VH", torch.ones(2, 3), torch.tensor([1])).shape
    torch.Size([2, 3])
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Each with room for more rows, and how many of them are in use.
        self._copies: dict[str, tuple[Tensor, int]] = {}

    def update(self, name: str, table_VE: Tensor, moved_R: Tensor) -> Tensor:
        """The table on the device, V×E; of its rows those of before are sent again only if they moved.

        Must not run beside steps: what it returned before changes, too.
        """
        if self._device.type == "cpu":
            return table_VE
        copy_WE, used = self._copies.get(name, (None, 0))
        if copy_WE is None or len(copy_WE) < len(table_VE):
            room = int(ROOM * len(table_VE))
            copy_WE = torch.empty((room, *table_VE.shape[1:]), dtype=table_VE.dtype, device=self._device)
            copy_WE[: len(table_VE)] = table_VE.to(self._device)
        else:
            new = torch.arange(used, len(table_VE))
            rows_R = torch.cat([moved_R[moved_R < used], new])
            if len(rows_R):
                copy_WE[rows_R.to(self._device)] = table_VE[rows_R].to(self._device)
        self._copies[name] = copy_WE, len(table_VE)
        return copy_WE[: len(table_VE)]
