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
    KEPT_ITEMS,
    NEIGHBOURS_ORDER,
    NEIGHBOURS_RANK,
    NEIGHBOURS_SHARE,
    Candidates,
    Floats,
    Ints,
    Longs,
    RecentSessions,
    SourceArrays,
    add,
    place_of,
    rank_value,
    slot_of,
)

EVENTS = 8  # newest distinct items by which past sessions are found
SESSION_ITEMS = 30  # newest items of a past session that are kept
RECENT_SAMPLED = 20  # newest recent sessions of an item; each is a step through memory
PROPOSED = 50
ITEM_SLOTS = 8192
SESSION_SLOTS = 16384


class Sums(NamedTuple):
    """Sums by key: an open-addressing table, the slots in use in order of their first key, their places.

    `added_N` are the slots to which something was added, in this order.
    """

    keys_T: Longs
    slots_N: Ints
    sums_T: Floats
    order_T: Floats
    places_T: Ints
    added_N: Ints


@compiled
def empty_sums(slots: int) -> Sums:
    """Sums without keys; half of the slots may be used."""
    return Sums(
        np.full(slots, -1, np.int64),
        np.zeros(slots // 2, np.int32),
        np.zeros(slots, np.float32),
        np.zeros(slots, np.float32),
        np.zeros(slots, np.int32),
        np.zeros(slots // 2, np.int32),
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
    sums.places_T[slot] = used
    return slot, used + 1


@compiled
def clear(sums: Sums, used: int) -> None:
    """Forget all keys."""
    for n in range(used):
        sums.keys_T[sums.slots_N[n]] = -1


@compiled
def find_sessions(
    candidates: Candidates,
    own: int,
    arrays: SourceArrays,
    recent: RecentSessions,
    sampled: int,
    sums: Sums,
) -> int:
    """Add up the similarity of each past session that holds one of the first `own` candidates.

    Of each item the newest `sampled` sessions are looked at, first `RECENT_SAMPLED` recent ones, whose keys
    come after those of the training's. Returns how many sessions were found.
    """
    found = 0
    events = min(own, EVENTS)
    standing, slots = len(arrays.session_begins_S1) - 1, len(recent.lengths_S)
    oldest_slot = recent.oldest % slots
    for age in range(events):
        item = candidates.ids_C[age]
        weight = 1 - age / events
        looked = 0
        if item < len(recent.newest_V):
            place = recent.newest_V[item]
            while place >= 0 and looked < min(RECENT_SAMPLED, sampled):
                later = place // KEPT_ITEMS - oldest_slot
                slot, found = summed(sums, found, standing + (later if later >= 0 else later + slots))
                if slot >= 0:
                    sums.sums_T[slot] += weight
                looked += 1
                place = recent.older_P[place]
        if item >= len(arrays.popularity_V):
            continue
        end = arrays.item_begins_V1[item + 1]
        for at in range(max(arrays.item_begins_V1[item], end - (sampled - looked)), end):
            slot, found = summed(sums, found, arrays.item_sessions_P[at])
            if slot >= 0:
                sums.sums_T[slot] += weight
    return found


@compiled
def has_others(items_P: Ints, begin: int, end: int, own: int, sums: Sums) -> bool:
    """Whether items_P[begin:end] has items besides the first `own` ones of the sums."""
    for at in range(begin, end):
        slot = slot_of(sums.keys_T, items_P[at])
        if sums.keys_T[slot] != items_P[at] or sums.places_T[slot] >= own:
            return True
    return False


@compiled
def read_session(
    items_P: Ints,
    begin: int,
    end: int,
    own: int,
    similarity: float,
    sums: Sums,
    used: int,
    added: int,
    slots_I: Ints,
) -> tuple[int, int]:
    """Add a neighbour's items, items_P[begin:end] in the order of their last event, to the sums.

    The first `own` items of the sums are this session's, newest first. `slots_I` is room for as many items
    as a session keeps. Returns how many items there are, and to how many something was added.
    """
    begin = max(begin, end - len(slots_I))
    # Where the neighbour held the newest of the items that both sessions hold.
    matched, youngest = -1, own
    for at in range(end - begin):
        slot, used = summed(sums, used, items_P[begin + at])
        slots_I[at] = slot
        if slot >= 0 and sums.places_T[slot] < youngest:
            matched, youngest = at, sums.places_T[slot]
    for at in range(end - begin):
        slot = slots_I[at]
        if slot < 0:
            continue
        if sums.sums_T[slot] == 0:
            sums.added_N[added] = slot
            added += 1
        sums.sums_T[slot] += similarity
        if at != matched:
            distance = at - matched if at > matched else 2 * (matched - at)
            sums.order_T[slot] += similarity / distance
    return used, added


@compiled
def add_neighbours(
    candidates: Candidates,
    count: int,
    own: int,
    arrays: SourceArrays,
    recent: RecentSessions,
    neighbours: int,
    sampled: int,
    sessions: Sums,
    items: Sums,
) -> tuple[int, float]:
    """Add the items of the nearest sessions, and their features.

    A recent session that has only items of this one has nothing to propose; it may be this one itself.
    Returns the number of candidates, and the largest similarity.
    """
    found = find_sessions(candidates, own, arrays, recent, sampled, sessions)
    if not found:
        return count, 0.0
    slots_N = sessions.slots_N[:found]
    numbers_N, sums_N = sessions.keys_T[slots_N], sessions.sums_T[slots_N]
    standing = len(arrays.session_begins_S1) - 1
    nearness_N, floor = np.empty(0, np.float64), -1.0
    if found > neighbours:
        # Of equal similarities the newer session is nearer.
        nearness_N = sums_N + numbers_N / (1e4 * (standing + 1 + recent.end - recent.oldest))
        floor = np.partition(nearness_N, found - neighbours)[found - neighbours]
    used, added, similarity = 0, 0, np.float32(0)
    for age in range(own):
        _, used = summed(items, used, candidates.ids_C[age])
    room_I = np.empty(max(SESSION_ITEMS, KEPT_ITEMS), np.int32)
    for n in range(found):
        number = numbers_N[n]
        is_near = found <= neighbours or nearness_N[n] >= floor
        if number < standing:
            similarity = max(similarity, sums_N[n])
            if is_near:
                # Not by a slice of the items, which takes longer than what is done with it.
                begin, end = arrays.session_begins_S1[number], arrays.session_begins_S1[number + 1]
                used, added = read_session(
                    arrays.session_items_P, begin, end, own, sums_N[n], items, used, added, room_I
                )
        elif is_near:
            slot = (recent.oldest + number - standing) % len(recent.lengths_S)
            begin = slot * KEPT_ITEMS
            end = begin + recent.lengths_S[slot]
            if has_others(recent.items_P, begin, end, own, items):
                similarity = max(similarity, sums_N[n])
                used, added = read_session(
                    recent.items_P, begin, end, own, sums_N[n], items, used, added, room_I
                )
    slots_I = items.added_N[:added]
    sums_I, order_I, keys_I = items.sums_T[slots_I], items.order_T[slots_I], items.keys_T[slots_I]
    clear(sessions, found)
    clear(items, used)
    if not added:
        return count, 0.0
    floor = 0.0
    if added > PROPOSED:
        floor = np.partition(sums_I, added - PROPOSED)[added - PROPOSED]
    highest, most_ordered = sums_I.max(), max(np.float32(1e-9), order_I.max())
    proposed = 0
    for n in range(added):
        if sums_I[n] >= floor and proposed < 2 * PROPOSED:
            place, count = add(candidates, count, keys_I[n])
            proposed += 1
        else:
            place = place_of(candidates, keys_I[n])
        if place >= 0:
            candidates.features_CF[place, NEIGHBOURS_SHARE] = sums_I[n] / highest
            candidates.features_CF[place, NEIGHBOURS_ORDER] = order_I[n] / most_ordered
    set_ranks(candidates.features_CF[:count], NEIGHBOURS_SHARE, NEIGHBOURS_RANK, 2 * PROPOSED)
    return count, float(similarity)


@compiled
def set_ranks(features_CF: Floats, by: int, into: int, most: int) -> None:
    """Set the feature `into` to the value of each candidate's rank by the feature `by`, if that is not 0."""
    order_C = np.argsort(-features_CF[:, by])
    for rank in range(min(len(order_C), most)):
        if features_CF[order_C[rank], by] <= 0:
            break
        features_CF[order_C[rank], into] = rank_value(rank, most)
