"""Prequential quality: each event is first predicted, then scored, then learned from.

An event's item is looked up in the list that its session was shown last. POP's list is
scored on the same events. Rolling over the newest n events; ranks count from 1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SYSTEMS = ("champion", "pop")


@dataclass(frozen=True)
class Quality:
    """Recall@20 and MRR@20 over `events` scored events."""

    events: int
    recall: float
    mrr: float


class RollingQuality:
    """Sums over all scored events and over the newest `window` of them."""

    def __init__(self, window: int) -> None:
        self._ranks: deque[int | None] = deque(maxlen=window)
        self._hits = 0
        self._reciprocals = 0.0
        self.events = 0
        self.hits = 0
        self.reciprocal_ranks = 0.0

    def add(self, rank: int | None) -> None:
        """Score one event: its item's rank in the list, None when it is not listed."""
        if len(self._ranks) == self._ranks.maxlen:
            oldest = self._ranks[0]
            if oldest is not None:
                self._hits -= 1
                self._reciprocals -= 1 / oldest
        self._ranks.append(rank)
        self.events += 1
        if rank is not None:
            self._hits += 1
            self._reciprocals += 1 / rank
            self.hits += 1
            self.reciprocal_ranks += 1 / rank

    def rolling(self) -> Quality:
        """Over the newest `window` events."""
        return _quality(len(self._ranks), self._hits, self._reciprocals)

    def total(self) -> Quality:
        """Over all events since the start."""
        return _quality(self.events, self.hits, self.reciprocal_ranks)


def _quality(events: int, hits: int, reciprocal_ranks: float) -> Quality:
    if not events:
        return Quality(0, 0.0, 0.0)
    return Quality(events, hits / events, max(0.0, reciprocal_ranks) / events)


class Prequential:
    """The champion's quality with POP's beside it, on the same events."""

    def __init__(self, window: int) -> None:
        self.systems = {name: RollingQuality(window) for name in SYSTEMS}

    def add(self, champion_rank: int | None, pop_rank: int | None) -> None:
        """Score one event for both systems."""
        self.systems["champion"].add(champion_rank)
        self.systems["pop"].add(pop_rank)
