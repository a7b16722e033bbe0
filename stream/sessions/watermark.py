"""Event-time watermark of a partition: how far its event time has surely come.

The largest event time so far, but for leaps: a time far ahead of it counts only when the
very next event, of another session, leaps too. One wrong stamp (a clock that is years
ahead) therefore ends nobody's session. A function of the records below an offset, so that
reading them again gives the same watermark (but where it was moved by the wall, for want of records).
"""

from __future__ import annotations

import msgspec

LEAP_MS = 600_000


class Watermark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Milliseconds since the epoch, 0 before any; `leap_*` is the event that waits to be confirmed."""

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
