"""When a session ends: after a gap of silence in event time, never by a late event.

Tested by tests/unit/model/data/test_sessions.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SessionRule:
    """When a session ends. With `gap_s` None only session_end ends it. Times are event times.

    >>> rule = SessionRule(gap_s=1800)
    >>> rule.resets(0, 1_800_000), rule.resets(0, 1_800_001)
    (False, True)
    """

    gap_s: float | None
    allowed_lateness_s: float = 0.0

    def resets(self, last_event_time_ms: int, event_time_ms: int) -> bool:
        """Whether the silence before this event ended the session."""
        return self.gap_s is not None and event_time_ms - last_event_time_ms > self.gap_s * 1000

    @property
    def silence_before_expiry_ms(self) -> int | None:
        """Silence, measured by the watermark, after which no event continues a session; None: never."""
        return None if self.gap_s is None else int((self.gap_s + self.allowed_lateness_s) * 1000)

    def ends(self, last_event_time_ms: int, event_time_ms: int, watermark_ms: int) -> bool:
        """Whether the session ended before this event: by its own silence, or by the watermark's."""
        silence_ms = self.silence_before_expiry_ms
        if silence_ms is not None and watermark_ms - last_event_time_ms > silence_ms:
            return True
        return self.resets(last_event_time_ms, event_time_ms)
