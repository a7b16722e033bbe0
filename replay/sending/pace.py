"""The pace of a replay: when each event is due in wall time, and how late it was sent.

Tested by tests/unit/replay/sending/test_event_time_order.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

# Edges of the lateness histogram: 2 % apart, 10 µs to 1,000 s.
EDGES_S = np.geomspace(1e-5, 1e3, 931)


class Pace:
    """Says when events are due, and waits until then; `wait_s` may return early.

    `speed` is event seconds per wall second, `rate` events per wall second whatever their times;
    without both, events are due at once. The first event sets the start. A replay that is late
    leaves nothing out, and does not wait until it has caught up.

    >>> Pace(speed=2.0).schedule([10_000, 11_000, 14_000]).tolist()
    [0.0, 0.5, 2.0]
    """

    def __init__(
        self,
        speed: float | None = None,
        *,
        rate: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
        wait_s: Callable[[float], object] = time.sleep,
    ) -> None:
        for value in (speed, rate):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"a speed is above 0: {value}")
        if speed is not None and rate is not None:
            raise ValueError("events are paced by their times or by a rate, not by both")
        self._speed = speed
        self._rate = rate
        self._now_s = now_s
        self._wait_s = wait_s
        self._origin_s: float | None = None
        self._first_ms = 0
        self._latest_s = 0.0
        self._scheduled = 0

    @property
    def unpaced(self) -> bool:
        """Whether every event is due at once."""
        return self._speed is None and self._rate is None

    def schedule(self, times_ms: Sequence[int]) -> npt.NDArray[np.float64]:
        """Seconds after the start at which the next events are due, given their times; never falling.

        An event that is earlier than one before it is due together with that one.
        """
        if self._origin_s is None:
            self._origin_s, self._first_ms = self._now_s(), times_ms[0]
        numbers = np.arange(self._scheduled, self._scheduled + len(times_ms))
        self._scheduled += len(times_ms)
        if self._rate is not None:
            return numbers / self._rate
        if self._speed is not None:
            due_s = (np.asarray(times_ms, np.int64) - self._first_ms) / 1000 / self._speed
            due_s = np.maximum.accumulate(np.maximum(due_s, self._latest_s))
            self._latest_s = float(due_s[-1])
            return due_s
        return np.zeros(len(times_ms))

    def elapsed_s(self) -> float:
        """Seconds since the start, pauses left out; 0 before it."""
        return 0.0 if self._origin_s is None else self._now_s() - self._origin_s

    def wait_until(self, due_s: float) -> None:
        """Return when `due_s` seconds have passed since the start."""
        while (left_s := due_s - self.elapsed_s()) > 0:
            self._wait_s(left_s)

    def postpone(self, seconds: float) -> None:
        """Move everything that is still due by this time, after a pause."""
        if self._origin_s is not None:
            self._origin_s += seconds


class Lateness:
    """How long after it was due each event was sent, in seconds; in constant memory.

    >>> lateness = Lateness()
    >>> lateness.add(np.array([0.001, 0.5]))
    >>> lateness.count, round(lateness.quantile_s(1.0), 2)
    (2, 0.5)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(len(EDGES_S) + 1, np.int64)
        self.max_s = 0.0

    def add(self, late_s: npt.NDArray[np.float64]) -> None:
        """Count some events: their lateness in seconds, (n,)."""
        self._counts += np.bincount(np.searchsorted(EDGES_S, late_s), minlength=len(self._counts))
        self.max_s = max(self.max_s, float(late_s.max(initial=0.0)))

    @property
    def count(self) -> int:
        """Events so far."""
        return int(self._counts.sum())

    def quantile_s(self, share: float) -> float:
        """The lateness that `share` of the events did not exceed; at most 2 % too large."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return min(self.max_s, float(EDGES_S[min(place, len(EDGES_S) - 1)]))
