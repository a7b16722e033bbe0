"""The newest sessions as their events come, for the source of neighbours: their items, and who had an item.

Bounded: `KEPT_SESSIONS` sessions, of which a new one takes the place of the oldest, and the newest
`KEPT_ITEMS` distinct items of each, in the order of their last event. The places of an item form a
chain, the newest event first, from which a place is taken when its session leaves. So an event costs the
same however many came before, and what is kept follows from the order of the events alone.

Shapes: V items, S slots, P places, N events, C earlier items of the session, newest first, T entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.compiled import compiled
from model.networks.fused.source_arrays import KEPT_ITEMS, Ints, Longs, RecentSessions, slot_of

KEPT_SESSIONS = 20_000  # more would not stay in a core's memory, and cost each list
FIRST_SLOTS = 256
ENTRIES_PER_SLOT = 4  # of the table that finds a session's number; at most half of it is in use


def no_sessions(items: int, slots: int) -> RecentSessions:
    """Nothing kept yet, with room for `slots` sessions."""
    return RecentSessions(
        np.full(slots * KEPT_ITEMS, -1, np.int32),
        np.zeros(slots, np.int32),
        np.full(slots * KEPT_ITEMS, -1, np.int32),
        np.full(items, -1, np.int32),
        0,
        0,
    )


class Index(NamedTuple):
    """Finds a session: the number by its key, T; each slot's key, S; the next newer place in a chain, P."""

    keys_T: Longs
    numbers_T: Longs
    keys_S: Longs
    newer_P: Ints


def no_index(slots: int) -> Index:
    """An index over as many slots, without a session."""
    entries = 1 << (ENTRIES_PER_SLOT * slots - 1).bit_length()
    return Index(
        np.full(entries, -1, np.int64),
        np.zeros(entries, np.int64),
        np.full(slots, -1, np.int64),
        np.full(slots * KEPT_ITEMS, -1, np.int32),
    )


@compiled
def forget_key(index: Index, key: int) -> None:
    """Take a key out of the table, and close the gap that it leaves."""
    keys_T, numbers_T = index.keys_T, index.numbers_T
    mask = len(keys_T) - 1
    gap = slot_of(keys_T, key)
    if keys_T[gap] != key:
        return
    at = (gap + 1) & mask
    while keys_T[at] != -1:
        home = (keys_T[at] * 2654435761) & mask
        if ((at - home) & mask) >= ((at - gap) & mask):
            keys_T[gap], numbers_T[gap] = keys_T[at], numbers_T[at]
            gap = at
        at = (at + 1) & mask
    keys_T[gap] = -1


@compiled
def copy_keys(old: Index, new: Index) -> None:
    """Enter the keys of one table in another."""
    for at in range(len(old.keys_T)):
        if old.keys_T[at] >= 0:
            entry = slot_of(new.keys_T, old.keys_T[at])
            new.keys_T[entry], new.numbers_T[entry] = old.keys_T[at], old.numbers_T[at]


@compiled
def unlink(recent: RecentSessions, index: Index, place: int) -> None:
    """Take a place out of its item's chain."""
    newer, older = index.newer_P[place], recent.older_P[place]
    if newer >= 0:
        recent.older_P[newer] = older
    else:
        recent.newest_V[recent.items_P[place]] = older
    if older >= 0:
        index.newer_P[older] = newer


@compiled
def move(recent: RecentSessions, index: Index, old: int, new: int) -> None:
    """Give the place `new` to what is at `old`."""
    item, newer, older = recent.items_P[old], index.newer_P[old], recent.older_P[old]
    recent.items_P[new], index.newer_P[new], recent.older_P[new] = item, newer, older
    if newer >= 0:
        recent.older_P[newer] = new
    else:
        recent.newest_V[item] = new
    if older >= 0:
        index.newer_P[older] = new


@compiled
def add_item(recent: RecentSessions, index: Index, slot: int, item: int) -> None:
    """Make an item the newest of a session; an earlier event of it, or the oldest of too many, leaves."""
    begin, length = slot * KEPT_ITEMS, recent.lengths_S[slot]
    leaves = -1
    for place in range(begin, begin + length):
        if recent.items_P[place] == item:
            leaves = place
    if leaves < 0 and length == KEPT_ITEMS:
        leaves = begin
    if leaves >= 0:
        unlink(recent, index, leaves)
        for place in range(leaves + 1, begin + length):
            move(recent, index, place, place - 1)
        length -= 1
    place, before = begin + length, recent.newest_V[item]
    recent.items_P[place], index.newer_P[place], recent.older_P[place] = item, -1, before
    if before >= 0:
        index.newer_P[before] = place
    recent.newest_V[item] = place
    recent.lengths_S[slot] = length + 1


@compiled
def free_slot(recent: RecentSessions, index: Index, slot: int, number: int) -> None:
    """Forget the session of that number, whose slot another one needs."""
    for place in range(slot * KEPT_ITEMS, slot * KEPT_ITEMS + recent.lengths_S[slot]):
        unlink(recent, index, place)
    recent.lengths_S[slot] = 0
    entry = slot_of(index.keys_T, index.keys_S[slot])
    # Its key may stand for a later session by now.
    if index.keys_T[entry] == index.keys_S[slot] and index.numbers_T[entry] == number:
        forget_key(index, index.keys_S[slot])


@compiled
def add_events(
    recent: RecentSessions, index: Index, most: int, events: Longs, near_NC: Longs
) -> tuple[int, int]:
    """Add events, rows of (key, begins, item), to sessions. Returns the oldest kept number, and the next one.

    A session that is not kept, and did not begin just now, begins with the items that are known to have
    come before.
    """
    oldest, end = recent.oldest, recent.end
    for n in range(len(events)):
        key, begins, item = events[n, 0], events[n, 1], events[n, 2]
        if key < 0:
            continue
        if begins:
            forget_key(index, key)
        if item < 0:
            continue
        entry = slot_of(index.keys_T, key)
        if index.keys_T[entry] == key:
            add_item(recent, index, index.numbers_T[entry] % most, item)
            continue
        slot = end % most
        if end - oldest == most:
            free_slot(recent, index, slot, oldest)
            oldest += 1
            entry = slot_of(index.keys_T, key)
        index.keys_T[entry], index.numbers_T[entry], index.keys_S[slot] = key, end, key
        end += 1
        for c in range(near_NC.shape[1] - 1, -1, -1):
            if near_NC[n, c] >= 0:
                add_item(recent, index, slot, near_NC[n, c])
        add_item(recent, index, slot, item)
    return oldest, end


class NewestSessions:
    """The newest sessions of a stream of `items` items; the caller keeps readers away while it learns.

    >>> newest = NewestSessions(items=3)
    >>> keys_N, begins_N, near_NC = np.array([7, 7]), np.array([True, False]), np.array([[-1], [0]])
    >>> newest.learn(keys_N, begins_N, np.array([0, 1]), near_NC)
    >>> arrays = newest.arrays()
    >>> arrays.items_P[: arrays.lengths_S[0]].tolist(), arrays.newest_V.tolist()
    ([0, 1], [0, 1, -1])
    """

    def __init__(self, items: int, most: int = KEPT_SESSIONS) -> None:
        self._most = most
        slots = min(FIRST_SLOTS, most)
        self._recent, self._index = no_sessions(items, slots), no_index(slots)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(array.nbytes for array in (*self._recent[:4], *self._index))

    def learn(
        self,
        keys_N: npt.NDArray[np.int64],
        begins_N: npt.NDArray[np.bool_],
        items_N: npt.NDArray[np.integer],
        near_NC: npt.NDArray[np.integer],
    ) -> None:
        """Learn events in their order: the session's key, whether the session begins with it, and items.

        A key or an item of -1 is an unknown one. `near_NC` are the items before it, -1 for none.
        """
        self._make_room(len(keys_N))
        events = np.stack([keys_N, begins_N, items_N], 1).astype(np.int64)
        oldest, end = add_events(self._recent, self._index, self._most, events, np.asarray(near_NC, np.int64))
        self._recent = self._recent._replace(oldest=oldest, end=end)

    def arrays(self) -> RecentSessions:
        """What is kept, sharing its memory."""
        return self._recent

    def _make_room(self, events: int) -> None:
        """Have a slot for each session that so many events can begin; no more than are kept."""
        slots = len(self._recent.lengths_S)
        needed = min(self._most, self._recent.end + events)
        if needed <= slots:
            return
        old, old_index = self._recent, self._index
        grown = min(self._most, max(needed, 2 * slots))
        new, self._index = no_sessions(len(old.newest_V), grown), no_index(grown)
        for before, array in (
            (old.items_P, new.items_P),
            (old.lengths_S, new.lengths_S),
            (old.older_P, new.older_P),
            (old_index.keys_S, self._index.keys_S),
            (old_index.newer_P, self._index.newer_P),
        ):
            array[: len(before)] = before
        # No session has left while there was room for more: the slot of each is its number.
        copy_keys(old_index, self._index)
        self._recent = new._replace(newest_V=old.newest_V, oldest=old.oldest, end=old.end)
