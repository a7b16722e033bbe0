"""The source of neighbours: items of past sessions that are similar to this one.

V-SkNN (Ludewig, Jannach, UMUAI 2018): the session is a vector over its newest items whose weights fall
linearly with age, past sessions are binary vectors, similarity is their product. The neighbours'
order has weight, too, as in STAN (Garg et al., SIGIR 2019): items shortly after the matching item count
more.

Shapes: R newest items, N past sessions found, I their items, T slots.
Tested by tests/unit/model/networks/fused/test_candidates.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model.compiled import compiled
from model.networks.fused.source_arrays import (
    NEIGHBOURS_ORDER,
    NEIGHBOURS_RANK,
    NEIGHBOURS_SHARE,
    Candidates,
    Floats,
    Ints,
    Longs,
    SourceArrays,
    add,
    place_of,
    rank_value,
    slot_of,
)

EVENTS = 8  # newest distinct items by which past sessions are found
SESSION_ITEMS = 30  # newest items of a past session that are kept
PROPOSED = 50
ITEM_SLOTS = 8192
SESSION_SLOTS = 16384


class Sums(NamedTuple):
    """Sums by key: an open-addressing table, and the slots in use in order of their first key."""

    keys_T: Longs
    slots_N: Ints
    sums_T: Floats
    order_T: Floats


@compiled
def empty_sums(slots: int) -> Sums:
    """Sums without keys; half of the slots may be used."""
    return Sums(
        np.full(slots, -1, np.int64),
        np.zeros(slots // 2, np.int32),
        np.zeros(slots, np.float32),
        np.zeros(slots, np.float32),
    )


@compiled
def summed(sums: Sums, used: int, key: int) -> tuple[int, int]:
    """The slot of a key, its sums set to 0 if it is new (-1: no room), and how many are used."""
    slot = slot_of(sums.keys_T, key)
    if sums.keys_T[slot] == key:
        return slot, used
    if used == len(sums.slots_N):
        return -1, used
    sums.keys_T[slot] = key
    sums.slots_N[used] = slot
    sums.sums_T[slot] = 0
    sums.order_T[slot] = 0
    return slot, used + 1


@compiled
def clear(sums: Sums, used: int) -> None:
    """Forget all keys."""
    for n in range(used):
        sums.keys_T[sums.slots_N[n]] = -1


@compiled
def find_sessions(candidates: Candidates, own: int, arrays: SourceArrays, sampled: int, sums: Sums) -> int:
    """Add up the similarity of each past session that holds one of the first `own` candidates.

    Of each item the newest `sampled` sessions are looked at. Returns how many sessions were found.
    """
    found = 0
    events = min(own, EVENTS)
    for age in range(events):
        item = candidates.ids_C[age]
        if item >= len(arrays.popularity_V):
            continue
        weight = 1 - age / events
        end = arrays.item_begins_V1[item + 1]
        for at in range(max(arrays.item_begins_V1[item], end - sampled), end):
            slot, found = summed(sums, found, arrays.item_sessions_P[at])
            if slot >= 0:
                sums.sums_T[slot] += weight
    return found


@compiled
def read_session(
    candidates: Candidates,
    own: int,
    arrays: SourceArrays,
    session: int,
    similarity: float,
    sums: Sums,
    used: int,
) -> int:
    """Add a neighbour's items to the sums. Returns how many items there are."""
    begin, end = arrays.session_begins_S1[session], arrays.session_begins_S1[session + 1]
    # Where the neighbour held the newest of the items that both sessions hold.
    matched, youngest = -1, own
    for at in range(begin, end):
        place = place_of(candidates, arrays.session_items_P[at])
        if 0 <= place < youngest:
            matched, youngest = at, place
    for at in range(begin, end):
        slot, used = summed(sums, used, arrays.session_items_P[at])
        if slot < 0:
            continue
        sums.sums_T[slot] += similarity
        if at != matched:
            distance = at - matched if at > matched else 2 * (matched - at)
            sums.order_T[slot] += similarity / distance
    return used


@compiled
def add_neighbours(
    candidates: Candidates,
    count: int,
    own: int,
    arrays: SourceArrays,
    neighbours: int,
    sampled: int,
    sessions: Sums,
    items: Sums,
) -> tuple[int, float]:
    """Add the items of the nearest sessions, and their features.

    Returns the number of candidates, and the largest similarity.
    """  # fmt: skip
    found = find_sessions(candidates, own, arrays, sampled, sessions)
    if not found:
        return count, 0.0
    slots_N = sessions.slots_N[:found]
    numbers_N, sums_N = sessions.keys_T[slots_N], sessions.sums_T[slots_N]
    # Of equal similarities the newer session is nearer.
    nearness_N = sums_N + numbers_N / (1e4 * len(arrays.session_begins_S1))
    floor = -1.0
    if found > neighbours:
        floor = np.partition(nearness_N, found - neighbours)[found - neighbours]
    used = 0
    for n in range(found):
        if nearness_N[n] >= floor:
            used = read_session(candidates, own, arrays, numbers_N[n], sums_N[n], items, used)
    slots_I = items.slots_N[:used]
    sums_I, order_I, keys_I = items.sums_T[slots_I], items.order_T[slots_I], items.keys_T[slots_I]
    floor = 0.0
    if used > PROPOSED:
        floor = np.partition(sums_I, used - PROPOSED)[used - PROPOSED]
    highest, most_ordered = sums_I.max(), max(np.float32(1e-9), order_I.max())
    proposed = 0
    for n in range(used):
        if sums_I[n] >= floor and proposed < 2 * PROPOSED:
            place, count = add(candidates, count, keys_I[n])
            proposed += 1
        else:
            place = place_of(candidates, keys_I[n])
        if place >= 0:
            candidates.features_CF[place, NEIGHBOURS_SHARE] = sums_I[n] / highest
            candidates.features_CF[place, NEIGHBOURS_ORDER] = order_I[n] / most_ordered
    set_ranks(candidates.features_CF[:count], NEIGHBOURS_SHARE, NEIGHBOURS_RANK, 2 * PROPOSED)
    clear(sessions, found)
    clear(items, used)
    return count, sums_N.max()


@compiled
def set_ranks(features_CF: Floats, by: int, into: int, most: int) -> None:
    """Set the feature `into` to the value of each candidate's rank by the feature `by`, if that is not 0."""
    order_C = np.argsort(-features_CF[:, by])
    for rank in range(min(len(order_C), most)):
        if features_CF[order_C[rank], by] <= 0:
            break
        features_CF[order_C[rank], into] = rank_value(rank, most)
