"""A token bucket for each client, in bounded memory.

A bucket holds at most `burst` tokens, gains `per_s` tokens each second and pays what a request costs,
at most all that it can hold. A new client starts with a full bucket. Beyond `max_clients` the bucket of
the client that has been silent longest is dropped.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 4096


class RateLimit:
    """Says how long a client has to wait.

    >>> limit = RateLimit(per_s=2, burst=1, clock_s=lambda: 0.0)
    >>> limit.wait_s("client"), limit.wait_s("client")
    (0.0, 0.5)
    """

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
        # Client → tokens, and the time at which it had them.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str, cost: float = 1) -> float:
        """Pay for a request: returns 0 if it may pass, else the seconds until it may."""
        cost = min(cost, self._burst)
        now_s = self._clock_s()
        tokens, at_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._per_s)
        missing = max(0.0, cost - tokens)
        self._buckets[client] = (tokens if missing else tokens - cost, now_s)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return missing / self._per_s
