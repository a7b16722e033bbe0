"""The newest events of a stream, each with what its session had before it: what a version can follow.

Bounded: the oldest leave first. Adding is cheap and safe from many threads; who follows asks for
what has come since it last asked, in the order of coming. Knows no model: items are numbered as
they come, and a follower finds out for itself which are its own.

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
    """Events by number of their item, and of the items that their session clicked before (-1 none)."""

    times_ms_N: npt.NDArray[np.int64]
    items_N: npt.NDArray[np.int32]
    near_NC: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.items_N)

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
class Fresh:
    """What has come since a place, and the place behind it.

    `ids` are those behind the numbers, which are others when `numbering` is another.
    """

    rows: EventRows
    end: int
    ids: list[str]
    numbering: int


class RecentEvents:
    """The newest events, some more than `most` of them at times, and the ids behind their numbers.

    Numbers are given anew now and then, so that ids that nobody has any more do not add up.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._ids: list[str] = []
        self._numbering = 0
        self._number: dict[str, int] = {}
        self._waiting: list[Row] = []
        self._parts: deque[tuple[int, EventRows]] = deque()
        self._end = 0
        self._lock = threading.Lock()

    def add(self, rows: Iterable[Row]) -> None:
        """Take in events: time, item, and the session's items before it, the oldest first."""
        taken = [(time_ms, item_id, tuple(before)) for time_ms, item_id, before in rows]
        with self._lock:
            self._waiting += taken

    def add_sessions(self, sessions: Sessions, ids: Sequence[str]) -> None:
        """Take in the events of whole sessions, in event-time order; `ids` are those of their items."""
        begins = np.repeat(sessions.offsets[:-1], sessions.lengths)
        self.add(
            (
                int(sessions.times_ms[row]),
                ids[sessions.items[row]],
                [ids[i] for i in sessions.items[max(int(begins[row]), row - NEAR) : row]],
            )
            for row in np.argsort(sessions.times_ms, kind="stable").tolist()
        )

    def since(self, place: int) -> Fresh:
        """What has come from `place` on, as far as it is still there."""
        with self._lock:
            self._settle()
            parts: list[EventRows] = []
            for end, part in reversed(self._parts):
                if end <= place:
                    break
                new = min(end - place, len(part))
                begin = len(part) - new
                parts.append(EventRows(part.times_ms_N[begin:], part.items_N[begin:], part.near_NC[begin:]))
            return Fresh(EventRows.joined(parts[::-1]), self._end, self._ids, self._numbering)

    def _settle(self) -> None:
        """Turn what waits into numbers, and let go what is too old."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            numbers = [self._of(item_id) for _, item_id, _ in waiting]
            near_NC = np.full((len(waiting), NEAR), -1, np.int32)
            for row, (_, _, before) in enumerate(waiting):
                if before:
                    newest = [self._of(item_id) for item_id in before[: -NEAR - 1 : -1]]
                    near_NC[row, : len(newest)] = newest
            self._end += len(waiting)
            times_ms_N = np.fromiter((time_ms for time_ms, _, _ in waiting), np.int64, len(waiting))
            self._parts.append((self._end, EventRows(times_ms_N, np.array(numbers, np.int32), near_NC)))
        while self._parts and self._end - self._parts[0][0] >= self.most:
            self._parts.popleft()
        if len(self._ids) > max(2 * self.most, 1_000):
            self._number_anew()

    def _of(self, item_id: str) -> int:
        number = self._number.get(item_id)
        if number is None:
            number = self._number[item_id] = len(self._ids)
            self._ids.append(item_id)
        return number

    def _number_anew(self) -> None:
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
