"""Which refusals are logged, of those that a stranger can bring about at any rate.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

LOG_EVERY_S = 10.0


class RefusalLog:
    """Logs refusals that a stranger can bring about at any rate: the first of each kind, then sums.

    >>> refusals = RefusalLog(clock_s=lambda: 0.0)
    >>> [refusals.is_due("too many") for _ in range(3)], refusals.counts["too many"]
    ([True, False, False], 3)
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._logged_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def is_due(self, kind: str) -> bool:
        """Count a refusal; returns whether it is to be logged."""
        self.counts[kind] += 1
        now_s = self._clock_s()
        if now_s - self._logged_s.get(kind, -LOG_EVERY_S) < LOG_EVERY_S:
            return False
        self._logged_s[kind] = now_s
        return True
