"""Whole sessions of a log in a fixed memory: all of them, or every 2nd, 4th, 8th … by hash.

A session is in the sample as a whole or not at all, whatever the order of the log. The hash picks the
same sessions from every log, so that two logs can be compared by their samples.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

KEPT_EVENTS = 4_000_000
ROW = np.dtype(
    [("session", "<u8"), ("item", "<u8"), ("time_ms", "<i8"), ("kind", "u1"), ("row", "<i8")], align=False
)
Hashes = npt.NDArray[np.uint64]


def hashes(texts: pd.Series[str]) -> Hashes:
    """A 64-bit hash of each text.

    >>> first, second, third = hashes(pd.Series(["a", "b", "a"]))
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    codes, names = pd.factorize(texts)
    hashed: Hashes = np.asarray(pd.util.hash_array(np.asarray(names, object), categorize=False), np.uint64)
    found: Hashes = hashed[codes]
    return found


class SessionSample:
    """Every 2^n-th session by hash; n is the smallest number with which the events fit."""

    def __init__(self, kept_events: int = KEPT_EVENTS) -> None:
        self._kept_events = kept_events
        self._kept: list[npt.NDArray[np.void]] = []
        self._count = 0
        self._rows = 0
        self._kinds: dict[str, int] = {}
        self.halvings = 0

    @property
    def one_in(self) -> int:
        """One session in this many is in the sample."""
        return int(2**self.halvings)

    def add(self, frame: pd.DataFrame, sessions: Hashes, items: Hashes) -> None:
        """Add the next rows of the log: an event frame, and the hashes of its session and item ids."""
        numbers = self._rows + np.arange(len(frame))
        self._rows += len(frame)
        inside = self._inside(sessions)
        kept = np.empty(int(inside.sum()), ROW)
        kept["session"], kept["item"], kept["row"] = sessions[inside], items[inside], numbers[inside]
        kept["time_ms"] = frame["event_time_ms"].to_numpy()[inside]
        codes, names = pd.factorize(frame["kind"][inside])
        known = np.array([self._kinds.setdefault(name, len(self._kinds)) for name in names], np.uint8)
        kept["kind"] = known[codes] if len(codes) else 0
        self._kept.append(kept)
        self._count += len(kept)
        while self._count > self._kept_events:
            self.halvings += 1
            self._kept = [rows[self._inside(rows["session"])] for rows in self._kept]
            self._count = sum(map(len, self._kept))

    def rows(self) -> npt.NDArray[np.void]:
        """The rows of the sample, in the order of the log."""
        return np.concatenate(self._kept) if self._kept else np.empty(0, ROW)

    def _inside(self, sessions: Hashes) -> npt.NDArray[np.bool_]:
        # By the upper bits, as other code may divide sessions by the lower ones.
        if not self.halvings:
            return np.ones(len(sessions), bool)
        return np.asarray(sessions >> np.uint64(64 - self.halvings) == 0, bool)
