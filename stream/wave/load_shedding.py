"""Load shedding: which lists the worker leaves out while it lags, to catch up sooner.

FULL: every event gets its list. NEWEST_ONLY: every event is stepped, but only those without a newer
event of their session already read are scored and published. POPULAR: nothing is scored, and POP's
list is published for those events. Hidden states are the same at every level.
"""

from __future__ import annotations

FULL, NEWEST_ONLY, POPULAR = range(3)
LEVELS = ("full", "newest-only", "popular")


class LoadShedding:
    """Chooses the level by lag; returns to a lower one at half of the budget.

    A budget of None is never exceeded.

    >>> shedding = LoadShedding(newest_only_lag=100, popular_lag=1_000)
    >>> [shedding.update(lag) for lag in (100, 101, 51, 50)] == [FULL, NEWEST_ONLY, NEWEST_ONLY, FULL]
    True
    """

    def __init__(self, newest_only_lag: int | None, popular_lag: int | None) -> None:
        self._budgets = ((POPULAR, popular_lag), (NEWEST_ONLY, newest_only_lag))
        self.level = FULL

    def update(self, lag: int) -> int:
        """Set the level by the newest lag, in records; returns the level."""
        for level, budget in self._budgets:
            if budget is not None and lag > (budget / 2 if self.level >= level else budget):
                self.level = level
                return level
        self.level = FULL
        return FULL
