"""A token bucket for each client, in bounded memory.

A bucket holds `burst` tokens, gains `per_s` of them each second and pays one for each request.
A client that is not remembered has a full one, so that only those that asked lately are kept:
the one that was silent longest is forgotten first. The clock is given.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 4096


class RateLimit:
    """Says who has to wait."""

    def __init__(
        self,
        per_s: float,
        burst: float,
        *,
        max_clients: int = MAX_CLIENTS,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_clients = max_clients
        self._clock_s = clock_s
        # Client → tokens, and when there were so many.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """0 for a request that may go on, which is paid for; else the seconds until one may."""
        now_s = self._clock_s()
        tokens, at_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._per_s)
        missing = max(0.0, 1 - tokens)
        self._buckets[client] = (tokens if missing else tokens - 1, now_s)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return missing / self._per_s
