"""The ladder: what the worker leaves out while it lags behind, to catch up sooner.

Level 0 gives every event its list. Level 1 steps every event, but scores and publishes only
where no newer event of the session has been read yet. Level 2 scores nothing and publishes
POP's list there. The hidden states are the same at every level.
"""

from __future__ import annotations

FULL, NEWEST_ONLY, POPULAR = range(3)
LEVELS = ("full", "newest-only", "popular")


class LoadShedding:
    """Chooses the level by lag; steps down again at half of the budget that led up.

    A budget of None is never exceeded.
    """

    def __init__(self, newest_only_lag: int | None, popular_lag: int | None) -> None:
        self._budgets = ((POPULAR, popular_lag), (NEWEST_ONLY, newest_only_lag))
        self.level = FULL

    def follow(self, lag: int) -> int:
        """Take the newest lag, in records; → the level."""
        for level, budget in self._budgets:
            if budget is not None and lag > (budget / 2 if self.level >= level else budget):
                self.level = level
                return level
        self.level = FULL
        return FULL
