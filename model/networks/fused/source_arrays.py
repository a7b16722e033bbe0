"""What the compiled passes share: the sources' arrays, the table of slots, and a session's candidates.

Tested by tests/unit/model/networks/fused/test_candidates.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

CANDIDATES = 384  # of one session, at most
CANDIDATE_SLOTS = 1024
KEPT_ITEMS = 16  # newest items of a recent session that are kept
# The columns of the features, in their order.
FEATURES = (
    "network score", "network rank", "next share", "next count", "next rank", "near share",
    "neighbours share", "neighbours rank", "neighbours order", "own", "own age", "own count",
    "current", "own repeats", "popularity", "freshness", "session length", "network gap",
    "neighbours similarity", "next total", "next share now", "next count now", "next rank now",
    "next total now", "near share now", "popular now", "popular rank now",
)  # fmt: skip
(
    NETWORK_SCORE, NETWORK_RANK, NEXT_SHARE, NEXT_COUNT, NEXT_RANK, NEAR_SHARE,
    NEIGHBOURS_SHARE, NEIGHBOURS_RANK, NEIGHBOURS_ORDER, OWN, OWN_AGE, OWN_COUNT,
    CURRENT, OWN_REPEATS, POPULARITY, FRESHNESS, SESSION_LENGTH, NETWORK_GAP,
    NEIGHBOURS_SIMILARITY, NEXT_TOTAL, NEXT_SHARE_NOW, NEXT_COUNT_NOW, NEXT_RANK_NOW,
    NEXT_TOTAL_NOW, NEAR_SHARE_NOW, POPULAR_NOW, POPULAR_RANK_NOW,
) = range(len(FEATURES))  # fmt: skip
# The features before these are all that there are while no source follows the events.
STANDING_FEATURES = NEXT_SHARE_NOW
# Each source, and the feature by which its own list is ordered.
SOURCES = {
    "network": NETWORK_RANK,
    "next items": NEXT_RANK,
    "near items": NEAR_SHARE,
    "neighbours": NEIGHBOURS_RANK,
    "own items": OWN_AGE,
    "next items now": NEXT_RANK_NOW,
    "near items now": NEAR_SHARE_NOW,
    "popular now": POPULAR_RANK_NOW,
}
# All features that each source gives.
SOURCES_FEATURES = {
    "network": (NETWORK_SCORE, NETWORK_RANK, NETWORK_GAP),
    "next items": (NEXT_SHARE, NEXT_COUNT, NEXT_RANK, NEXT_TOTAL),
    "near items": (NEAR_SHARE,),
    "neighbours": (NEIGHBOURS_SHARE, NEIGHBOURS_RANK, NEIGHBOURS_ORDER, NEIGHBOURS_SIMILARITY),
    "own items": (OWN, OWN_AGE, OWN_COUNT, CURRENT, OWN_REPEATS),
    "next items now": (NEXT_SHARE_NOW, NEXT_COUNT_NOW, NEXT_RANK_NOW, NEXT_TOTAL_NOW),
    "near items now": (NEAR_SHARE_NOW,),
    "popular now": (POPULAR_NOW, POPULAR_RANK_NOW),
}


class SourceArrays(NamedTuple):
    """What the counting sources know; begins_X1[x]:begins_X1[x + 1] are the pairs of x.

    Pairs of an item are sorted by weight, the heaviest first; the items of a past session by time, the
    sessions of an item from old to new, past sessions by their last event.
    Shapes: V items, S past sessions, P kept pairs, N popular items.
    """

    next_begins_V1: Longs
    next_items_P: Ints
    next_counts_P: Floats
    next_totals_V: Floats
    near_begins_V1: Longs
    near_items_P: Ints
    near_weights_P: Floats
    session_begins_S1: Longs
    session_items_P: Ints
    item_begins_V1: Longs
    item_sessions_P: Ints
    popular_N: Ints
    popularity_V: Floats
    freshness_V: Floats
    repeats_V: Floats


class RecentSessions(NamedTuple):
    """The newest sessions since the training, numbered in the order in which they began.

    The numbers `oldest` to `end` are kept, each in the slot of its number modulo what is kept at most. A
    slot has `KEPT_ITEMS` places, of which `lengths_S` hold its distinct items in the order of their last
    event. The places of an item are a chain from `newest_V` by `older_P`, -1 at its end.
    Shapes: V items, S slots, P = S · KEPT_ITEMS places.
    """

    items_P: Ints
    lengths_S: Ints
    older_P: Ints
    newest_V: Ints
    oldest: int
    end: int


class LiveArrays(NamedTuple):
    """What the sources learned from events as they came; without items where they stand still.

    `row_V` is an item's row, -1 for none. Pairs are in no order; a free place has the item -1. A weight
    times `scale` is a decayed count. `popular_N` are the most popular items of now, best first,
    `popular_V` log(1 + count). `sessions` are neighbours beside those of the training.
    Shapes: V items, R rows, P pairs of a row, N popular items.
    """

    row_V: Ints
    next_items_RP: Ints
    next_weights_RP: Floats
    next_totals_R: Floats
    near_items_RP: Ints
    near_weights_RP: Floats
    popular_N: Ints
    popular_V: Floats
    scale: float
    sessions: RecentSessions


class Candidates(NamedTuple):
    """One session's candidates: item ids, C, features, C×F, and the slots that find an item's place."""

    ids_C: Longs
    features_CF: Floats
    keys_T: Longs
    places_T: Ints


@compiled
def slot_of(keys_T: Longs, key: int) -> int:
    """The slot of a key in an open-addressing table of 2ⁿ slots, or the free slot (-1) where it belongs."""
    mask = len(keys_T) - 1
    slot = (key * 2654435761) & mask
    while keys_T[slot] != key and keys_T[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@compiled
def place_of(candidates: Candidates, item: int) -> int:
    """The place of an item among the candidates, -1 where it is none."""
    slot = slot_of(candidates.keys_T, item)
    return candidates.places_T[slot] if candidates.keys_T[slot] == item else -1


@compiled
def add(candidates: Candidates, count: int, item: int) -> tuple[int, int]:
    """Add an item unless it is a candidate already. Returns its place (-1: no room) and their number."""
    slot = slot_of(candidates.keys_T, item)
    if candidates.keys_T[slot] == item:
        return candidates.places_T[slot], count
    if count == len(candidates.ids_C):
        return -1, count
    candidates.keys_T[slot], candidates.places_T[slot] = item, count
    candidates.ids_C[count] = item
    # Not by a slice, which takes longer than the numbers.
    for feature in range(candidates.features_CF.shape[1]):
        candidates.features_CF[count, feature] = 0
    return count, count + 1


@compiled
def rank_value(rank: int, most: int) -> float:
    """1 for rank 0, falling with the rank's logarithm, and above 0 for every rank below `most`."""
    return float(1 - np.log(1.0 + rank) / np.log(2.0 + most))
