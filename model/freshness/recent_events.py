"""The newest events of a stream, each with its session and the items that this had before it.

Bounded: the oldest events leave first. Adding is cheap and safe from many threads. Every refresher
asks for the events since its own position, in the order in which they came. Items are numbered by
their first event here; each refresher maps the numbers to its own rows.

Shapes: N events, C earlier items of the session, newest first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.data.co_clicks import NEAR
from model.data.sessions import Sessions

Row = tuple[int, str, Sequence[str], str]


@dataclass(frozen=True)
class EventRows:
    """Events: time, the number of the item, the numbers of the session's items before it (-1 none).

    `sessions_N` are hashes that tell sessions apart, in this process alone; -1 is a session without an id.
    """

    times_ms_N: npt.NDArray[np.int64]
    items_N: npt.NDArray[np.int32]
    near_NC: npt.NDArray[np.int32]
    sessions_N: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items_N)

    @property
    def begins_N(self) -> npt.NDArray[np.bool_]:
        """Whether each event is the first of its session."""
        is_first_N: npt.NDArray[np.bool_] = self.near_NC[:, 0] < 0
        return is_first_N

    def part(self, rows: slice | npt.NDArray[np.bool_]) -> EventRows:
        """The events at `rows`."""
        return EventRows(self.times_ms_N[rows], self.items_N[rows], self.near_NC[rows], self.sessions_N[rows])

    def where(self, chosen_N: npt.NDArray[np.bool_]) -> EventRows:
        """The rows that are chosen."""
        if chosen_N.all():
            return self
        return self.part(chosen_N)

    @classmethod
    def joined(cls, parts: Sequence[EventRows]) -> EventRows:
        """The rows of all parts, one after the other."""
        if not parts:
            return cls(
                np.zeros(0, np.int64),
                np.zeros(0, np.int32),
                np.zeros((0, NEAR), np.int32),
                np.zeros(0, np.int64),
            )
        return cls(
            np.concatenate([part.times_ms_N for part in parts]),
            np.concatenate([part.items_N for part in parts]),
            np.concatenate([part.near_NC for part in parts]),
            np.concatenate([part.sessions_N for part in parts]),
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
    >>> recent.add([(1_000, "a", [], "s"), (2_000, "b", ["a"], "s")])
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
        """Add events: time, item, the session's items before it, the oldest first, and the session's id."""
        added = [(time_ms, item_id, tuple(before), session) for time_ms, item_id, before, session in rows]
        with self._lock:
            self._waiting += added

    def add_sessions(self, sessions: Sessions, ids: Sequence[str]) -> None:
        """Add the events of whole sessions, in event-time order; `ids` names their items."""
        begins = np.repeat(sessions.offsets[:-1], sessions.lengths)
        session_of = np.repeat(np.arange(len(sessions)), sessions.lengths)
        self.add(
            (
                int(sessions.times_ms[row]),
                ids[sessions.items[row]],
                [ids[i] for i in sessions.items[max(int(begins[row]), row - NEAR) : row]],
                str(sessions.session_ids[session_of[row]]),
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
                parts.append(part.part(slice(begin, None)))
            return NewEvents(EventRows.joined(parts[::-1]), self._end, self._ids, self._numbering)

    def _number_waiting(self) -> None:
        """Turn the waiting events into numbers, and drop events beyond the capacity."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            numbers = [self._number_of(item_id) for _, item_id, _, _ in waiting]
            near_NC = np.full((len(waiting), NEAR), -1, np.int32)
            for row, (_, _, before, _) in enumerate(waiting):
                if before:
                    newest = [self._number_of(item_id) for item_id in before[: -NEAR - 1 : -1]]
                    near_NC[row, : len(newest)] = newest
            self._end += len(waiting)
            times_ms_N = np.fromiter((time_ms for time_ms, _, _, _ in waiting), np.int64, len(waiting))
            sessions = (_key(session) for _, _, _, session in waiting)
            sessions_N = np.fromiter(sessions, np.int64, len(waiting))
            rows = EventRows(times_ms_N, np.array(numbers, np.int32), near_NC, sessions_N)
            self._parts.append((self._end, rows))
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
            (end, replace(part, items_N=renamed[part.items_N], near_NC=renamed[part.near_NC]))
            for end, part in self._parts
        )
        self._numbering += 1


def _key(session_id: str) -> int:
    """A number that stands for a session in this process, -1 for one without an id."""
    return hash(session_id) & 0x7FFF_FFFF_FFFF_FFFF if session_id else -1
