"""Which side leads: both sides of an experiment, with intervals that hold whenever they are looked at.

The observations are sessions, as in `model.evaluation.confidence_sequence`. Split sides have sessions of
their own, so the difference of two ratios of sums is linearised: with y a session's sum, n what it is
divided by, N the sum of n over its side, R the rate of its side and t all sessions, a session of the
challenger counts t (y - R n) / N, one of the champion minus that. Of interleaved lists each session is a
pair: what was taken from places of the challenger, less what was taken from places of the champion.

A later event counts once: for the newest list before it that had its item.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.evaluation.confidence_sequence import half_width
from model.evaluation.intervals import Interval
from stream.experiments.experiment import CHALLENGER, CHAMPION, INTERLEAVED
from stream.experiments.team_draft import OF_CHALLENGER, OF_CHAMPION
from stream.outcomes.outcome import BASKET, CLICK, PURCHASE, Outcome

# Hits are per list that has a next event, of which the list had the item; the others are per session.
HITS, REVENUE = "hits", "revenue"
BY_KIND = {CLICK: "clicks", BASKET: "baskets", PURCHASE: "purchases"}
MEASURES = (HITS, *BY_KIND.values(), REVENUE)
# Fewer on a side, and none is said to lead: the sequence is asymptotic.
LEAST_SESSIONS = 100
OWNERS = {OF_CHAMPION: 0, OF_CHALLENGER: 1}
Sums = npt.NDArray[np.float64]


class _Credit(NamedTuple):
    """A later event, for the list of the event at `list_offset`."""

    list_offset: int
    owner: str
    kind: str
    price: float | None


@dataclass
class _Session:
    """A session: its side, its first list, lists with a next event, hits of both sides, what was taken."""

    side: str
    propensity: float
    first_ms: int
    followed: int = 0
    hits: list[int] = field(default_factory=lambda: [0, 0])
    taken: dict[str, _Credit] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One measure: the rates of champion and challenger, and the second less the first."""

    measure: str
    rates: tuple[float, float]
    interval: Interval

    @property
    def leader(self) -> str:
        """The side that leads, "" while neither does."""
        if self.interval.low > 0:
            return CHALLENGER
        return CHAMPION if self.interval.high < 0 else ""


class Comparison:
    """Adds up the outcomes of one experiment; about half a kilobyte a session.

    >>> comparison = Comparison("e1")
    >>> comparison.add([Outcome("s", "0-1", 0, "v", ["i"], [], 9, 1, experiment="e1", side="champion")])
    >>> comparison.sessions
    {'champion': 1, 'challenger': 0}
    """

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self._sessions: dict[str, _Session] = {}

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Add the outcomes of this experiment; others are passed over."""
        for outcome in outcomes:
            if outcome.experiment == self.experiment and outcome.side:
                self._add(outcome)

    def _add(self, outcome: Outcome) -> None:
        found = self._sessions.get(outcome.session_id)
        if found is None:
            found = _Session(outcome.side, outcome.propensity, outcome.event_time_ms)
            self._sessions[outcome.session_id] = found
        found.first_ms = min(found.first_ms, outcome.event_time_ms)
        if outcome.next_place is not None:
            found.followed += 1
            if outcome.next_place:
                owner = outcome.owners[outcome.next_place - 1 : outcome.next_place]
                side = self._side(found, owner)
                if side is not None:
                    found.hits[side] += 1
        list_offset = int(outcome.event_id.partition("-")[2])
        for taken in outcome.taken:
            before = found.taken.get(taken.event_id)
            if before is None or before.list_offset < list_offset:
                found.taken[taken.event_id] = _Credit(list_offset, taken.owner, taken.kind, taken.price)

    @staticmethod
    def _side(session: _Session, owner: str) -> int | None:
        """Whose it is, 0 or 1; None for a place that a rule has filled."""
        return OWNERS.get(owner) if session.side == INTERLEAVED else int(session.side == CHALLENGER)

    @property
    def sessions(self) -> dict[str, int]:
        """Sessions by side; interleaved ones are of both."""
        sides = [session.side for session in self._sessions.values()]
        both = sides.count(INTERLEAVED)
        return {side: sides.count(side) + both for side in (CHAMPION, CHALLENGER)}

    @property
    def is_enough(self) -> bool:
        """Whether both sides have the sessions without which none is said to lead."""
        return min(self.sessions.values()) >= LEAST_SESSIONS

    @property
    def unpriced(self) -> int:
        """Purchases without a price, which are no revenue here."""
        return sum(
            credit.kind == PURCHASE and credit.price is None
            for session in self._sessions.values()
            for credit in session.taken.values()
        )

    def sums(self, measure: str) -> Sums:
        """By session: what is counted for champion and challenger, T×2."""
        sums_T2 = np.zeros((len(self._sessions), 2))
        for row, session in enumerate(self._sessions.values()):
            if measure == HITS:
                sums_T2[row] = session.hits
                continue
            for credit in session.taken.values():
                side = self._side(session, credit.owner)
                if side is None:
                    continue
                if measure == REVENUE:
                    sums_T2[row, side] += (credit.price or 0.0) * (credit.kind == PURCHASE)
                else:
                    sums_T2[row, side] += BY_KIND[credit.kind] == measure
        return sums_T2

    @property
    def challenged(self) -> npt.NDArray[np.bool_]:
        """By session: whether the challenger served it."""
        return np.array([session.side == CHALLENGER for session in self._sessions.values()], np.bool_)

    @property
    def propensities(self) -> Sums:
        """By session: how likely its side was."""
        return np.array([session.propensity for session in self._sessions.values()], np.float64)

    @property
    def days(self) -> npt.NDArray[np.int64]:
        """By session: the day of its first list, which was there before the side was drawn."""
        return np.array([session.first_ms // 86_400_000 for session in self._sessions.values()], np.int64)

    def differences(self) -> list[Difference]:
        """Every measure; none before both sides have sessions."""
        followed_T = np.array([session.followed for session in self._sessions.values()], np.float64)
        is_paired = any(session.side == INTERLEAVED for session in self._sessions.values())
        found = []
        for measure in MEASURES:
            y_T2 = self.sums(measure)
            n_T = followed_T if measure == HITS else np.ones(len(y_T2))
            both = paired(y_T2, n_T) if is_paired else split(y_T2.sum(1), n_T, self.challenged)
            if both is not None:
                found.append(Difference(measure, *both))
        return found


def split(
    y_T: Sums, n_T: Sums, challenged_T: npt.NDArray[np.bool_]
) -> tuple[tuple[float, float], Interval] | None:
    """Rates of champion and challenger over sessions of their own, and their difference.

    >>> split(np.array([1.0, 0.0]), np.ones(2), np.array([True, False]))[0]
    (0.0, 1.0)
    """
    t, totals = len(y_T), (float(n_T[~challenged_T].sum()), float(n_T[challenged_T].sum()))
    if not all(totals):
        return None
    first, second = float(y_T[~challenged_T].sum()) / totals[0], float(y_T[challenged_T].sum()) / totals[1]
    effects_T = np.where(
        challenged_T, t * (y_T - second * n_T) / totals[1], -t * (y_T - first * n_T) / totals[0]
    )
    width = half_width(float(np.sqrt((effects_T**2).mean())), t)
    mean = second - first
    return (first, second), Interval(mean, mean - width, mean + width)


def paired(y_T2: Sums, n_T: Sums) -> tuple[tuple[float, float], Interval] | None:
    """Rates of the champion's and the challenger's places of the same lists, and their difference."""
    t, total = len(y_T2), float(n_T.sum())
    if not total:
        return None
    first, second = (float(one) / total for one in y_T2.sum(0))
    mean = second - first
    residuals_T = y_T2[:, 1] - y_T2[:, 0] - mean * n_T
    width = half_width(float(np.sqrt((residuals_T**2).mean())) / (total / t), t)
    return (first, second), Interval(mean, mean - width, mean + width)
