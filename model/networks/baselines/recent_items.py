"""A session's newest items as a state, for baselines that read more than one item.

Shapes: B sessions, R items, newest first, padded with -1.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.networks.network import Columns, State, StateField

NAME = "recent"


def recent_field(items: int) -> StateField:
    """The state field of the newest `items` items, initially none."""
    return StateField(NAME, (items,), torch.int32, initial=-1)


def with_newest(inputs: Columns, state: State) -> tuple[Tensor, State]:
    """Put each session's new item before its others. Returns the items, B×R int32, and the new state.

    >>> state = {NAME: torch.tensor([[7, -1]], dtype=torch.int32)}
    >>> with_newest({"item": torch.tensor([3])}, state)[0].tolist()
    [[3, 7]]
    """
    recent_BR = torch.cat([inputs["item"].int()[:, None], state[NAME][:, :-1]], 1)
    return recent_BR, {NAME: recent_BR}
