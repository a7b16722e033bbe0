"""A session's newest items as a state: what the baselines that read more than one item keep.

Shapes: B sessions, R items, newest first, padded with -1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.networks.network import Columns, State, StateField

NAME = "recent"
SESSION_ITEMS = 50


def recent_field(items: int) -> StateField:
    """The state of `items` items, none yet."""
    return StateField(NAME, (items,), torch.int32, initial=-1)


def with_newest(inputs: Columns, state: State) -> tuple[Tensor, State]:
    """Put each session's item in front of its others: → B×R int32, and the state that keeps them."""
    recent_BR = torch.cat([inputs["item"].int()[:, None], state[NAME][:, :-1]], 1)
    return recent_BR, {NAME: recent_BR}
