"""How scored events are summed: by slice, by group of sessions, for every system, in whole numbers.

A cell is a slice of the events (all; a model version; a position; an item age) and a group of
sessions. Every event is added to one cell of each kind of slice. Hits and reciprocal ranks are
counted in units of 1/UNIT, which every 1/rank up to 20 is a multiple of: sums are exact, in
whatever order and on whatever worker they are made.

Shapes: S slots, G groups of sessions, C columns, N events, K kinds of slice.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from model.stepping.top_k import LIST_LENGTH
from stream.quality.item_age import AGES

SYSTEMS = ("champion", "pop", "window_pop")
COLUMNS = ("events", *(f"{system}_{sum_}" for system in SYSTEMS for sum_ in ("hits", "reciprocal_ranks")))
POSITIONS = ("1", "2", "3-5", "6-10", ">10")
KINDS = ("all", "version", "position", "item_age")
UNIT = math.lcm(*range(1, LIST_LENGTH + 1))
GROUPS = 50
VERSIONS = 4

FIRST_VERSION = 1
FIRST_POSITION = FIRST_VERSION + VERSIONS
FIRST_AGE = FIRST_POSITION + len(POSITIONS)
# Of versions older than the newest few: summed nowhere else, and never shown.
UNSHOWN = FIRST_AGE + len(AGES)
SLOTS = UNSHOWN + 1

Whole = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Table = npt.NDArray[Any]
_POSITION_CLASS = (0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4)
_RECIPROCAL = np.array([0, *(UNIT // rank for rank in range(1, LIST_LENGTH + 1))], np.float64)


def position_slot(position: int) -> int:
    """The slot of a list that `position` events of its session stand behind, from 1."""
    return FIRST_POSITION + _POSITION_CLASS[min(position, 11)]


def group_of(session_id: str) -> int:
    """A session's group: the same on every worker and after every restart."""
    return zlib.crc32(session_id.encode()) % GROUPS


def cells_of(slots_NK: Whole, groups_N: Whole) -> Whole:
    """The cells of events by their slots, N×K."""
    return slots_NK * GROUPS + groups_N[:, None]


def values_of(ranks_N2: Whole, expected_N2: Whole) -> Numbers:
    """What events add to their cells, N×C.

    `ranks_N2` are the champion's and POP's, `expected_N2` last-hour POP's hits and 1/rank in units.
    """
    values = np.empty((len(ranks_N2), len(COLUMNS)))
    values[:, 0] = 1
    for place in range(2):
        values[:, 1 + 2 * place] = np.where(ranks_N2[:, place] > 0, float(UNIT), 0.0)
        values[:, 2 + 2 * place] = _RECIPROCAL[ranks_N2[:, place]]
    values[:, 5:] = expected_N2
    return values


def summed(cells_NK: Whole, values_NC: Numbers, weights_NK: Numbers | None = None) -> Numbers:
    """The events' values by cell, S×G×C; exact without weights, up to some ten million events."""
    columns = len(COLUMNS)
    places = cells_NK[:, :, None] * columns + np.arange(columns)
    values = values_NC[:, None, :] if weights_NK is None else values_NC[:, None, :] * weights_NK[:, :, None]
    sums = np.bincount(
        places.ravel(), np.broadcast_to(values, places.shape).ravel(), minlength=SLOTS * GROUPS * columns
    )
    return sums.astype(np.float64, copy=False).reshape(SLOTS, GROUPS, columns)
