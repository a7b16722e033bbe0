"""The pace of a replay: when each event is due on the wall, and how exactly that was kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

# Of the lateness that is kept: 2 % apart, 10 µs to 1,000 s.
EDGES_S = np.geomspace(1e-5, 1e3, 931)


class Pace:
    """When events are due, and waiting for it; `wait_s` may return before its time is over.

    `speed` is event seconds per wall second, `rate` events per wall second whatever their times;
    neither: as fast as possible. The first event sets the start. A replay that has fallen behind
    leaves nothing out and does not wait until it has caught up.
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
    def free(self) -> bool:
        """Whether nothing is waited for."""
        return self._speed is None and self._rate is None

    def schedule(self, times_ms: Sequence[int]) -> npt.NDArray[np.float64]:
        """Seconds after the start at which the next events, of these times, are due; never falling.

        An event of an earlier time than one before it comes late, and is due together with that one.
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
        """Return when so many seconds have passed since the start."""
        while (left_s := due_s - self.elapsed_s()) > 0:
            self._wait_s(left_s)

    def put_off(self, seconds: float) -> None:
        """Everything that is still due is due so much later: after a pause."""
        if self._origin_s is not None:
            self._origin_s += seconds


class Lateness:
    """How long after its moment each event was produced, in seconds; in constant memory."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(EDGES_S) + 1, np.int64)
        self.max_s = 0.0

    def add(self, late_s: npt.NDArray[np.float64]) -> None:
        """Take the lateness of some events."""
        self._counts += np.bincount(np.searchsorted(EDGES_S, late_s), minlength=len(self._counts))
        self.max_s = max(self.max_s, float(late_s.max(initial=0.0)))

    @property
    def count(self) -> int:
        """Events so far."""
        return int(self._counts.sum())

    def quantile_s(self, share: float) -> float:
        """The lateness that `share` of the events did not exceed, 2 % too large at most."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return min(self.max_s, float(EDGES_S[min(place, len(EDGES_S) - 1)]))
