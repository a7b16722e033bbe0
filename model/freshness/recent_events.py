"""The newest events of a stream, each with the items that its session had before it.

Bounded: the oldest events leave first. Adding is cheap and safe from many threads. Every refresher
asks for the events since its own position, in the order in which they came. Items are numbered by
their first event here; each refresher maps the numbers to its own rows.

Shapes: N events, C earlier items of the session, newest first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.data.co_clicks import NEAR
from model.data.sessions import Sessions

Row = tuple[int, str, Sequence[str]]


@dataclass(frozen=True)
class EventRows:
    """Events: time, the number of the item, and the numbers of the session's items before it (-1 none)."""

    times_ms_N: npt.NDArray[np.int64]
    items_N: npt.NDArray[np.int32]
    near_NC: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.items_N)

    def where(self, chosen_N: npt.NDArray[np.bool_]) -> EventRows:
        """The rows that are chosen."""
        if chosen_N.all():
            return self
        return EventRows(self.times_ms_N[chosen_N], self.items_N[chosen_N], self.near_NC[chosen_N])

    @classmethod
    def joined(cls, parts: Sequence[EventRows]) -> EventRows:
        """The rows of all parts, one after the other."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, NEAR), np.int32))
        return cls(
            np.concatenate([part.times_ms_N for part in parts]),
            np.concatenate([part.items_N for part in parts]),
            np.concatenate([part.near_NC for part in parts]),
        )


@dataclass(frozen=True)
class NewEvents:
    """The events since a position; `end` is the position to ask from next.

    Number n of `rows` is the item `ids[n]`. The numbers of another `numbering` mean other items.
    """

    rows: EventRows
    end: int
    ids: list[str]
    numbering: int


class RecentEvents:
    """The newest `capacity` events, at times some more, and the ids of their items.

    Items are renumbered now and then, so that ids without an event do not add up.

    >>> recent = RecentEvents(capacity=1_000)
    >>> recent.add([(1_000, "a", []), (2_000, "b", ["a"])])
    >>> new = recent.since(1)
    >>> [new.ids[item] for item in new.rows.items_N], new.end
    (['b'], 2)
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._ids: list[str] = []
        self._numbering = 0
        self._number: dict[str, int] = {}
        self._waiting: list[Row] = []
        self._parts: deque[tuple[int, EventRows]] = deque()
        self._end = 0
        self._lock = threading.Lock()

    def add(self, rows: Iterable[Row]) -> None:
        """Add events: time, item, and the session's items before it, the oldest first."""
        added = [(time_ms, item_id, tuple(before)) for time_ms, item_id, before in rows]
        with self._lock:
            self._waiting += added

    def add_sessions(self, sessions: Sessions, ids: Sequence[str]) -> None:
        """Add the events of whole sessions, in event-time order; `ids` names their items."""
        begins = np.repeat(sessions.offsets[:-1], sessions.lengths)
        self.add(
            (
                int(sessions.times_ms[row]),
                ids[sessions.items[row]],
                [ids[i] for i in sessions.items[max(int(begins[row]), row - NEAR) : row]],
            )
            for row in np.argsort(sessions.times_ms, kind="stable").tolist()
        )

    def since(self, position: int) -> NewEvents:
        """The events from `position` on that are still here."""
        with self._lock:
            self._number_waiting()
            parts: list[EventRows] = []
            for end, part in reversed(self._parts):
                if end <= position:
                    break
                begin = len(part) - min(end - position, len(part))
                parts.append(EventRows(part.times_ms_N[begin:], part.items_N[begin:], part.near_NC[begin:]))
            return NewEvents(EventRows.joined(parts[::-1]), self._end, self._ids, self._numbering)

    def _number_waiting(self) -> None:
        """Turn the waiting events into numbers, and drop events beyond the capacity."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            numbers = [self._number_of(item_id) for _, item_id, _ in waiting]
            near_NC = np.full((len(waiting), NEAR), -1, np.int32)
            for row, (_, _, before) in enumerate(waiting):
                if before:
                    newest = [self._number_of(item_id) for item_id in before[: -NEAR - 1 : -1]]
                    near_NC[row, : len(newest)] = newest
            self._end += len(waiting)
            times_ms_N = np.fromiter((time_ms for time_ms, _, _ in waiting), np.int64, len(waiting))
            self._parts.append((self._end, EventRows(times_ms_N, np.array(numbers, np.int32), near_NC)))
        while self._parts and self._end - self._parts[0][0] >= self.capacity:
            self._parts.popleft()
        if len(self._ids) > max(2 * self.capacity, 1_000):
            self._renumber()

    def _number_of(self, item_id: str) -> int:
        number = self._number.get(item_id)
        if number is None:
            number = self._number[item_id] = len(self._ids)
            self._ids.append(item_id)
        return number

    def _renumber(self) -> None:
        """Forget the ids that no event has any more."""
        rows = EventRows.joined([part for _, part in self._parts])
        kept = np.unique(np.r_[rows.items_N, rows.near_NC.ravel()])
        kept = kept[kept >= 0]
        renamed = np.full(len(self._ids) + 1, -1, np.int32)
        renamed[kept] = np.arange(len(kept))
        self._ids = [self._ids[number] for number in kept]
        self._number = {item_id: number for number, item_id in enumerate(self._ids)}
        self._parts = deque(
            (end, EventRows(part.times_ms_N, renamed[part.items_N], renamed[part.near_NC]))
            for end, part in self._parts
        )
        self._numbering += 1
