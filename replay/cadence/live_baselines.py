"""Baselines that learn from every event as it comes: a retrained model has to beat them.

Each event is ranked before it is learned, from all events before it, other sessions'
included. A list that is made one click earlier knows less.

Shapes: N events, V items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from model.data.sessions import Sessions
from model.networks.baselines.item_counts import ItemCounts

HOUR_MS = 3_600_000
BETWEEN_REPORTS = 50_000  # events


class LiveBaseline(ABC):
    """Ranks an event among the items that are not hidden, then learns it."""

    @abstractmethod
    def rank(self, last: int, target: int, time_ms: int, hidden: set[int]) -> int:
        """Pessimistic rank of `target`, from 1, after the session's item `last`; 0 when it is not ranked."""

    @abstractmethod
    def learn(self, last: int | None, item: int, time_ms: int) -> None:
        """Learn an event of `item`; `last` is the session's item before it, None for the first."""


class LastHourPop(LiveBaseline):
    """Ranks items by how often they came in the last hour.

    >>> baseline = LastHourPop()
    >>> for item in (1, 1, 2):
    ...     baseline.learn(None, item, time_ms=0)
    >>> baseline.rank(1, 2, HOUR_MS, set()), baseline.rank(1, 2, HOUR_MS + 1, set())
    (2, 0)
    """

    def __init__(self) -> None:
        self._counts = ItemCounts[int]()
        self._window: deque[tuple[int, int]] = deque()

    def rank(self, last: int, target: int, time_ms: int, hidden: set[int]) -> int:
        """Rank by count; an item without a count is not ranked."""
        while self._window and self._window[0][0] < time_ms - HOUR_MS:
            self._counts.remove(self._window.popleft()[1])
        return sum(self._counts.place(target, hidden))

    def learn(self, last: int | None, item: int, time_ms: int) -> None:
        """Count the event."""
        self._counts.add(item)
        self._window.append((time_ms, item))


class LiveTransitions(LiveBaseline):
    """Ranks items by how often they followed the session's last item; of equal ones the latest first."""

    def __init__(self, items: int) -> None:
        self._next: list[dict[int, tuple[int, int]]] = [{} for _ in range(items)]

    def rank(self, last: int, target: int, time_ms: int, hidden: set[int]) -> int:
        """Rank by count, then by recency; an item that never followed is not ranked."""
        following = self._next[last]
        score = following.get(target)
        if not score or target in hidden:
            return 0
        return sum(other >= score for item, other in following.items() if item not in hidden)

    def learn(self, last: int | None, item: int, time_ms: int) -> None:
        """Count the pair of items."""
        if last is not None:
            count, _ = self._next[last].get(item, (0, 0))
            self._next[last][item] = (count + 1, time_ms)


def live_ranks(
    baselines: Mapping[str, LiveBaseline],
    sessions: Sessions,
    targets_N: npt.NDArray[np.bool_],
    exclude_session_items: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, npt.NDArray[np.int64]]:
    """Rank and then learn each event, in event time. Returns, by name, the ranks of `targets_N`.

    Events are rows of `sessions`, all of known items; each target follows another event of its session.
    `exclude_session_items` leaves a session's own items out of its lists.
    """
    session_of_N = np.repeat(np.arange(len(sessions)), sessions.lengths)
    is_first_N = np.zeros(len(session_of_N), bool)
    is_first_N[sessions.offsets[:-1]] = True
    ranks = {name: np.zeros(int(targets_N.sum()), np.int64) for name in baselines}
    place_N = np.cumsum(targets_N) - 1
    seen: dict[int, set[int]] = {}
    order = np.argsort(sessions.times_ms, kind="stable")
    for done, row in enumerate(order.tolist()):
        item, time_ms = int(sessions.items[row]), int(sessions.times_ms[row])
        last = None if is_first_N[row] else int(sessions.items[row - 1])
        session_items = seen.setdefault(int(session_of_N[row]), set())
        for name, baseline in baselines.items():
            if last is not None and targets_N[row]:
                ranks[name][place_N[row]] = baseline.rank(last, item, time_ms, session_items)
            baseline.learn(last, item, time_ms)
        if exclude_session_items:
            session_items.add(item)
        if not done % BETWEEN_REPORTS:
            progress(done, len(order))
    return ranks
