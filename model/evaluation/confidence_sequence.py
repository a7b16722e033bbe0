"""A paired difference whose interval holds however often it is read.

A 95 % interval that is read after each event excludes the truth sooner or later. A confidence sequence
holds at all times at once: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Time-uniform central limit
theory and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2. Its independent
observations are sessions, since the events of a session depend on each other. The difference of the two
means over events is a ratio of sums over sessions; its deviation comes from the linearised ratio. The
class keeps only sums, so that every event costs the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.evaluation.intervals import Interval

ALPHA = 0.05
# The sequence is narrowest near this number of sessions, and slightly wider elsewhere.
SESSIONS_AT_NARROWEST = 1000


@dataclass(slots=True)
class SessionTally:
    """A session's scored events so far, and the two sums of a measure over them."""

    events: int = 0
    first: float = 0.0
    second: float = 0.0


class PairedDifference:
    """Mean of the second minus mean of the first measure, over events of sessions that may still go on.

    >>> difference = PairedDifference()
    >>> difference.add(SessionTally(), first=0.0, second=1.0)
    >>> difference.sessions, difference.means
    (1, (0.0, 1.0))
    """

    def __init__(self) -> None:
        self.sessions = 0
        self.events = 0
        self._first = 0.0
        self._second = 0.0
        self._squares = 0.0
        self._products = 0.0
        self._events_squared = 0.0

    def add(self, tally: SessionTally, first: float, second: float) -> None:
        """Add one event of the session of `tally`; updates `tally` too."""
        self.sessions += not tally.events
        self.events += 1
        self._first += first
        self._second += second
        self._count(tally, -1)
        tally.events += 1
        tally.first += first
        tally.second += second
        self._count(tally, 1)

    def _count(self, tally: SessionTally, sign: int) -> None:
        difference = tally.second - tally.first
        self._squares += sign * difference * difference
        self._products += sign * difference * tally.events
        self._events_squared += sign * tally.events * tally.events

    @property
    def means(self) -> tuple[float, float]:
        """Means of the first and the second measure over all events; 0 without events."""
        events = max(1, self.events)
        return self._first / events, self._second / events

    def interval(self, alpha: float = ALPHA) -> Interval:
        """μ̂ ± σ̂ √(2(tρ²+1)/(t²ρ²) · log(√(tρ²+1)/α)) over t sessions; unbounded without sessions."""
        t = self.sessions
        if not t:
            return Interval(0.0, -math.inf, math.inf)
        first, second = self.means
        mean = second - first
        residuals = self._squares - 2 * mean * self._products + mean * mean * self._events_squared
        deviation = math.sqrt(max(0.0, residuals) / t) / (self.events / t)
        width = half_width(deviation, t, alpha)
        return Interval(mean, mean - width, mean + width)


def half_width(deviation: float, t: int, alpha: float = ALPHA) -> float:
    """σ̂ √(2(tρ²+1)/(t²ρ²) · log(√(tρ²+1)/α)): how far the mean of t observations may lie from the truth."""
    log_alpha = -2 * math.log(alpha)
    rho_squared = (log_alpha + math.log(log_alpha + 1)) / SESSIONS_AT_NARROWEST
    grown = t * rho_squared + 1
    return deviation * math.sqrt(2 * grown / (t * t * rho_squared) * math.log(math.sqrt(grown) / alpha))
