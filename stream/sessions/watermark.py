"""Event-time watermark of a partition: the event time that it has reached.

The largest event time so far, except for leaps: a time far ahead of it counts only when the
next event, of another session, leaps too. One wrong timestamp (a clock that is years
ahead) therefore ends no session. The watermark is a function of the records below an offset, so that
reading them again gives the same watermark, unless the wall clock advanced it when no records came.
"""

from __future__ import annotations

import msgspec

LEAP_MS = 600_000


class Watermark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Milliseconds since the epoch, 0 before the first event; `leap_*` is a leap not confirmed yet.

    >>> Watermark(1_000).after("s", 2_000).ms
    2000
    >>> leap = Watermark(1_000).after("s", 9_000_000)
    >>> leap.ms, leap.after("t", 9_000_000).ms
    (1000, 9000000)
    """

    ms: int = 0
    leap_ms: int = 0
    leap_session: str = ""

    def after(self, session_id: str, event_time_ms: int) -> Watermark:
        """The watermark after one more event."""
        ahead_ms = event_time_ms - self.ms
        if ahead_ms <= 0:
            return Watermark(self.ms) if self.leap_ms else self
        if ahead_ms <= LEAP_MS:
            return Watermark(event_time_ms)
        if self.leap_ms and session_id != self.leap_session:
            return Watermark(min(self.leap_ms, event_time_ms))
        return Watermark(self.ms, event_time_ms, session_id)


NO_WATERMARK = Watermark()
