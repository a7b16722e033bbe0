"""The survey of a log while it is read: exact counts, and a sample of its sessions.

Counts, times, items and days are exact. Memory grows with the items (about 200 bytes each) and the
hours of the log, not with its events or sessions: sessions that do not fit are sampled as wholes
(`SessionSample`), and a sketch counts the users.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.log_report.session_sample import Hashes, SessionSample, hashes
from stream.events import OPTIONAL_FIELDS

SESSION_END = "session_end"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MERGED_ITEMS = 500_000
SKETCH_HASHES = 65_536


class DistinctSketch:
    """Counts distinct hashes: exactly up to 65,536, then within about 1 %.

    Keeps the smallest hashes: the k-th smallest of n evenly spread ones lies near k/n of the range
    (Bar-Yossef et al. 2002, "Counting distinct elements in a data stream").

    >>> sketch = DistinctSketch()
    >>> sketch.add(np.array([1, 2, 2], np.uint64))
    >>> sketch.count(), sketch.exact
    (2, True)
    """

    def __init__(self) -> None:
        self._smallest: Hashes = np.empty(0, np.uint64)
        self.exact = True

    def add(self, hashes: Hashes) -> None:
        """Count some more hashes."""
        found = np.union1d(self._smallest, hashes)
        self.exact = self.exact and len(found) <= SKETCH_HASHES
        self._smallest = found[:SKETCH_HASHES]

    def count(self) -> int:
        """Distinct hashes so far."""
        if self.exact or not len(self._smallest):
            return len(self._smallest)
        return round((SKETCH_HASHES - 1) / (float(self._smallest[-1]) / 2.0**64))


@dataclass
class Items:
    """Every item by id: its events, first and last event time."""

    table: pd.DataFrame

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Events of each item, the most popular first."""
        return np.sort(self.table["events"].to_numpy())[::-1]


class LogSurvey:
    """Counts the frames of a log in file order."""

    def __init__(self, sample: SessionSample | None = None) -> None:
        self.sample = sample or SessionSample()
        self.users = DistinctSketch()
        self.events = 0
        self.kinds: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        self.hours: dict[int, int] = {}
        self.backward_rows = 0
        self.step_ms = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._previous_ms: int | None = None
        self._tables: list[pd.DataFrame] = []

    def add(self, frame: pd.DataFrame) -> None:
        """Count the next rows of the log."""
        if not len(frame):
            return
        for kind, count in frame["kind"].value_counts().items():
            self.kinds[str(kind)] = self.kinds.get(str(kind), 0) + int(count)
        if (is_end := frame["kind"] == SESSION_END).any():
            # The end of a session is of no item: it is counted as a kind, and is in no other figure.
            frame = frame[~is_end]
            if not len(frame):
                return
        times_ms = frame["event_time_ms"].to_numpy()
        self.events += len(frame)
        for name in OPTIONAL_FIELDS:
            if name in frame:
                empty = frame[name].isna() | (frame[name].astype(object) == "")
                self.missing[name] = self.missing.get(name, 0) + int(empty.sum())
        self._add_times(times_ms)
        self._add_items(frame["item_id"], times_ms)
        if "user_id" in frame:
            users = frame["user_id"].dropna()
            self.users.add(np.unique(hashes(users[users != ""])))
        self.sample.add(frame, hashes(frame["session_id"]), hashes(frame["item_id"]))

    def items(self) -> Items:
        """Every item so far."""
        self._merge()
        empty = pd.DataFrame({"events": [], "first_ms": [], "last_ms": []}, dtype=np.int64)
        return Items(self._tables[0] if self._tables else empty)

    def _add_times(self, times_ms: npt.NDArray[np.int64]) -> None:
        earliest, latest = int(times_ms.min()), int(times_ms.max())
        origin = earliest if self.first_ms is None else self.first_ms
        # All times lie a multiple of the step after the first one.
        self.step_ms = int(np.gcd(self.step_ms, np.gcd.reduce(np.abs(times_ms - origin))))
        self.first_ms = earliest if self.first_ms is None else min(self.first_ms, earliest)
        self.last_ms = latest if self.last_ms is None else max(self.last_ms, latest)
        if self._previous_ms is not None:
            self.backward_rows += int(times_ms[0] < self._previous_ms)
        self.backward_rows += int((np.diff(times_ms) < 0).sum())
        self._previous_ms = int(times_ms[-1])
        hours, counts = np.unique(times_ms // HOUR_MS, return_counts=True)
        for hour, count in zip(hours.tolist(), counts.tolist(), strict=True):
            self.hours[hour] = self.hours.get(hour, 0) + count

    def _add_items(self, items: pd.Series[str], times_ms: npt.NDArray[np.int64]) -> None:
        codes, names = pd.factorize(items)
        first = np.full(len(names), np.iinfo(np.int64).max)
        last = np.full(len(names), np.iinfo(np.int64).min)
        np.minimum.at(first, codes, times_ms)
        np.maximum.at(last, codes, times_ms)
        self._tables.append(
            pd.DataFrame(
                {"events": np.bincount(codes, minlength=len(names)), "first_ms": first, "last_ms": last},
                index=pd.Index(np.asarray(names, object), name="item_id"),
            )
        )
        if sum(map(len, self._tables[1:])) > max(MERGED_ITEMS, len(self._tables[0])):
            self._merge()

    def _merge(self) -> None:
        if len(self._tables) > 1:
            together = pd.concat(self._tables).groupby(level=0, sort=False)
            merged = together.agg({"events": "sum", "first_ms": "min", "last_ms": "max"})
            self._tables = [merged]
