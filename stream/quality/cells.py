"""The cells in which scored events are summed, in whole numbers.

A cell is one slice of the events (all; one model version; one position; one item age) and one
group of sessions. Every event is added to K cells, one for each kind of slice. An event that the
version has learned from is in no slice but `in_sample`. Hits and
reciprocal ranks are counted in units of 1/UNIT; every 1/rank up to 20 is a multiple of 1/UNIT,
so sums are exact in any order and on any worker.

Shapes: S slots (one for each slice), G groups of sessions, C columns, N events, K kinds of slice.
Tested by tests/unit/stream/quality/test_prequential.py.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from stream.quality.item_age import AGES

SYSTEMS = ("champion", "pop", "window_pop")
COLUMNS = ("events", *(f"{system}_{sum_}" for system in SYSTEMS for sum_ in ("hits", "reciprocal_ranks")))
POSITIONS = ("1", "2", "3-5", "6-10", ">10")
KINDS = ("all", "version", "position", "item_age")
LEARNED = "in_sample"
UNIT = math.lcm(*range(1, LIST_LENGTH + 1))
GROUPS = 50
VERSIONS = 4

FIRST_VERSION = 1
FIRST_POSITION = FIRST_VERSION + VERSIONS
FIRST_AGE = FIRST_POSITION + len(POSITIONS)
# The slice of the events that the version has learned from; "all" are the others.
IN_SAMPLE = FIRST_AGE + len(AGES)
# The slot of all versions older than the newest few, and of slices that an event is not in; never shown.
UNSHOWN = IN_SAMPLE + 1
SLOTS = UNSHOWN + 1

Whole = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Table = npt.NDArray[Any]
_POSITION_CLASS = (0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4)
_RECIPROCAL = np.array([0, *(UNIT // rank for rank in range(1, LIST_LENGTH + 1))], np.float64)


def position_slot(position: int) -> int:
    """The slot of a list that was made after `position` events of its session, from 1."""
    return FIRST_POSITION + _POSITION_CLASS[min(position, 11)]


def group_of(session_id: str) -> int:
    """The group of a session, the same on every worker and after every restart."""
    return zlib.crc32(session_id.encode()) % GROUPS


def cells_of(slots_NK: Whole, groups_N: Whole) -> Whole:
    """The cell numbers of events, N×K, from the slots of their slices."""
    return slots_NK * GROUPS + groups_N[:, None]


def values_of(ranks_N2: Whole, expected_N2: Whole) -> Numbers:
    """The numbers that events add to their cells, N×C.

    `ranks_N2` holds the ranks of the champion and of POP, 0 for a miss; `expected_N2` holds the hit
    and the 1/rank of last-hour POP in units of 1/UNIT.
    """
    values = np.empty((len(ranks_N2), len(COLUMNS)))
    values[:, 0] = 1
    for place in range(2):
        values[:, 1 + 2 * place] = np.where(ranks_N2[:, place] > 0, float(UNIT), 0.0)
        values[:, 2 + 2 * place] = _RECIPROCAL[ranks_N2[:, place]]
    values[:, 5:] = expected_N2
    return values


def summed(cells_NK: Whole, values_NC: Numbers, weights_NK: Numbers | None = None) -> Numbers:
    """Sum the values by cell, S×G×C; exact without weights, up to some ten million events."""
    columns = len(COLUMNS)
    places = cells_NK[:, :, None] * columns + np.arange(columns)
    values = values_NC[:, None, :] if weights_NK is None else values_NC[:, None, :] * weights_NK[:, :, None]
    sums = np.bincount(
        places.ravel(), np.broadcast_to(values, places.shape).ravel(), minlength=SLOTS * GROUPS * columns
    )
    return sums.astype(np.float64, copy=False).reshape(SLOTS, GROUPS, columns)
