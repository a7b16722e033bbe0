"""The laws of session lengths and gaps, from two means or from a log, and what follows by formula.

The arithmetic of `nextclick bench scale` calculates with them; its simulation draws from the same laws and
uses none of the formulas. Knows no machine. Duration: from a session's first event to its last.

Legend: S sessions, E events (of all sessions, each session's together and in time's order).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.data.sessions import Sessions
from stream.sessions.partition import BUCKET_OFFSETS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
AGE_STEPS = 20_000


class SessionLaw(Protocol):
    """How many events a session has and how they lie in time. Duration: first event to last."""

    @property
    def mean_events(self) -> float:
        """Events per session."""

    @property
    def mean_square_events(self) -> float:
        """Mean of the square of a session's events."""

    @property
    def mean_duration_s(self) -> float:
        """Mean duration."""

    @property
    def longest_s(self) -> float:
        """A duration that practically none exceeds."""

    def longer(self, duration_s: float) -> float:
        """Share of sessions whose duration exceeds this."""

    def older_s(self, ages_s: Floats, silence_s: float, recent_items: int) -> Floats:
        """Seconds of a session's time in the store, on average, with an oldest kept event older than each."""

    def sample(self, rng: np.random.Generator, sessions: int) -> tuple[Ints, Floats]:
        """Events of so many sessions; seconds between each event and the one before it, 0 for a first."""


@dataclass(frozen=True)
class GeometricLaw:
    """Geometric lengths, exponential gaps; no gap exceeds the session gap, or it would end the session."""

    mean_events: float
    mean_gap_s: float
    session_gap_s: float

    @property
    def mean_square_events(self) -> float:
        """Of a geometric number from 1 on: m (2m - 1)."""
        return self.mean_events * (2 * self.mean_events - 1)

    @property
    def mean_duration_s(self) -> float:
        """One gap fewer than events."""
        return (self.mean_events - 1) * self.mean_gap_s

    @property
    def longest_s(self) -> float:
        """Exceeded by e^-40 of the sessions."""
        return 40 * self.mean_events * self.mean_gap_s

    def longer(self, duration_s: float) -> float:
        """A geometric number of exponential gaps is exponential: (1 - 1/m) e^(-d / (m g))."""
        return (1 - 1 / self.mean_events) * float(np.exp(-duration_s / (self.mean_events * self.mean_gap_s)))

    def older_s(self, ages_s: Floats, silence_s: float, recent_items: int) -> Floats:
        """∫ P(D + silence > u) du from each age on; as if all events were kept, so at most a little more."""
        beyond_s = ages_s - silence_s
        scale_s = self.mean_events * self.mean_gap_s
        inside = self.mean_duration_s * np.exp(-np.maximum(beyond_s, 0) / scale_s)
        return np.asarray(inside + np.maximum(-beyond_s, 0))

    def sample(self, rng: np.random.Generator, sessions: int) -> tuple[Ints, Floats]:
        """By the inverse distribution, cut at the session gap."""
        lengths_S = rng.geometric(1 / self.mean_events, sessions)
        within = -np.expm1(-self.session_gap_s / self.mean_gap_s)
        gaps_E = -self.mean_gap_s * np.log1p(-within * rng.random(lengths_S.sum()))
        gaps_E[np.cumsum(lengths_S) - lengths_S] = 0
        return lengths_S, gaps_E


class LoggedLaw:
    """The sessions of a log, drawn with replacement, each with its own gaps."""

    def __init__(self, sessions: Sessions) -> None:
        self._offsets = sessions.offsets
        lengths = sessions.lengths
        times_s = sessions.times_ms / 1000
        self._gaps_s = np.maximum(np.diff(times_s, prepend=times_s[0]), 0)
        self._gaps_s[self._offsets[:-1]] = 0
        through_s = np.r_[0, np.cumsum(self._gaps_s)]
        self._durations_s = np.sort(np.diff(through_s[self._offsets]))
        # Of the k longest, the sum: [k].
        self._longest_sums_s = np.r_[0, np.cumsum(self._durations_s[::-1])]
        self.mean_events = float(lengths.mean())
        self.mean_square_events = float((lengths.astype(float) ** 2).mean())
        self.mean_duration_s = float(self._durations_s.mean())
        self.longest_s = float(self._durations_s[-1])
        self.mean_gap_s = self.mean_duration_s / (self.mean_events - 1)

    def longer(self, duration_s: float) -> float:
        """Counted."""
        return float((self._durations_s > duration_s).mean())

    def older_s(self, ages_s: Floats, silence_s: float, recent_items: int) -> Floats:
        """∫ P(D + silence > u) du from each age on, less what sessions of more events have forgotten."""
        beyond_s = ages_s - silence_s
        longer = len(self._durations_s) - np.searchsorted(self._durations_s, beyond_s, "right")
        sums_s = self._longest_sums_s[longer] - longer * beyond_s
        for session in np.flatnonzero(np.diff(self._offsets) > recent_items).tolist():
            times_s = np.cumsum(self._gaps_s[self._offsets[session] : self._offsets[session + 1]])
            until_s = np.r_[times_s[1:], times_s[-1] + silence_s]
            # Between the event n and the next one, the oldest kept event is n - recent_items + 1.
            kept_s = np.r_[np.full(recent_items - 1, times_s[0]), times_s][: len(times_s)]
            sums_s -= np.maximum(times_s[-1] + silence_s - ages_s, 0)
            for since, until, kept in zip(times_s, until_s, kept_s, strict=True):
                sums_s += np.maximum(until - np.maximum(since, kept + ages_s), 0)
        return np.asarray(sums_s / len(self._durations_s))

    def sample(self, rng: np.random.Generator, sessions: int) -> tuple[Ints, Floats]:
        """Whole sessions."""
        chosen_S = rng.integers(len(self._offsets) - 1, size=sessions)
        lengths_S = np.diff(self._offsets)[chosen_S]
        first_S = np.cumsum(lengths_S) - lengths_S
        rows_E = np.repeat(self._offsets[chosen_S] - first_S, lengths_S) + np.arange(lengths_S.sum())
        return lengths_S, self._gaps_s[rows_E]


def open_sessions(sessions_per_s: float, law: SessionLaw, silence_s: float) -> float:
    """Little's law: a session is in the store from its first event to a silence after its last."""
    return sessions_per_s * (law.mean_duration_s + silence_s)


def oldest_ages(
    sessions_per_s: float, law: SessionLaw, silence_s: float, recent_items: int
) -> tuple[Floats, Floats]:
    """Ages in seconds, and the chance that the oldest kept event of the open sessions is older than each.

    Of Poisson arrivals the open sessions older than `a` are Poisson too, with the mean
    rate x ∫ P(D + silence > u) du from a on; the oldest is younger than `a` when there are none.
    """
    ages_s = np.linspace(0, silence_s + law.longest_s, AGE_STEPS)
    return ages_s, -np.expm1(-sessions_per_s * law.older_s(ages_s, silence_s, recent_items))


def oldest_age_s(
    sessions_per_s: float, law: SessionLaw, silence_s: float, recent_items: int
) -> tuple[float, float]:
    """Mean and standard deviation of the age of the oldest kept event."""
    ages_s, chance = oldest_ages(sessions_per_s, law, silence_s, recent_items)
    mean_s = float(np.trapezoid(chance, ages_s))
    return mean_s, math.sqrt(float(np.trapezoid(2 * ages_s * chance, ages_s)) - mean_s**2)


def oldest_age_bound_s(
    sessions_per_s: float, law: SessionLaw, silence_s: float, recent_items: int, exceeded: float
) -> float:
    """The age that the oldest kept event exceeds with the probability `exceeded`."""
    ages_s, chance = oldest_ages(sessions_per_s, law, silence_s, recent_items)
    return float(ages_s[min(int((chance > exceeded).sum()), AGE_STEPS - 1)])


def recover_range(events_per_s: float, age_s: float) -> float:
    """Events from `recover_from` on: since the oldest, and half a bucket, to whose beginning it is moved."""
    return events_per_s * age_s + BUCKET_OFFSETS / 2


def skew_bound(sessions: float, law: SessionLaw, groups: int) -> float:
    """Most events of a group over the mean, of `groups` with so many hashed sessions each.

    A group's events are a compound Poisson sum; of n normal variables the largest is expected
    below √(2 ln n) deviations.
    """
    deviation = math.sqrt(law.mean_square_events / sessions) / law.mean_events
    return 1 + deviation * math.sqrt(2 * math.log(groups))


def skew_of_events(events: float, groups: int) -> float:
    """The same of unrelated events, expected: the largest of n normal variables by Blom's approximation."""
    largest = NormalDist().inv_cdf((groups - 0.375) / (groups + 0.25))
    return 1 + largest / math.sqrt(events)


def catch_up_s(backlog: float, capacity: float, arriving: float) -> float:
    """Seconds until a backlog is gone while events go on arriving."""
    return backlog / (capacity - arriving) if capacity > arriving else math.inf


def expiry_looks(law: SessionLaw, silence_s: float) -> float:
    """Index entries that expiry looks at per session.

    One a silence after the first event, one more where another event came since, and so on for each further
    silence that the session lasts.
    """
    further = (law.longer(k * silence_s) for k in range(1, int(law.longest_s / silence_s) + 1))
    return 1 + law.longer(0) + sum(further)
