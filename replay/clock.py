"""The pace of a replay: event time against the wall, at a chosen speed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Waits until an event's moment has come; `wait_s` may return before its time is over.

    `speed` is event seconds per wall second, None for as fast as possible. The first event
    sets the start. A replay that has fallen behind does not wait until it has caught up.
    """

    def __init__(
        self,
        speed: float | None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wait_s: Callable[[float], object] = time.sleep,
    ) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"a speed is above 0: {speed}")
        self._speed = speed
        self._now_s = now_s
        self._wait_s = wait_s
        self._start: tuple[float, int] | None = None

    def due_in_s(self, event_time_ms: int) -> float:
        """Wall seconds until the event is due; 0 or less when it is."""
        if self._speed is None:
            return 0.0
        if self._start is None:
            self._start = (self._now_s(), event_time_ms)
        start_s, start_ms = self._start
        return start_s + (event_time_ms - start_ms) / 1000 / self._speed - self._now_s()

    def wait_for(self, event_time_ms: int) -> None:
        """Return when the event is due."""
        while (left_s := self.due_in_s(event_time_ms)) > 0:
            self._wait_s(left_s)
