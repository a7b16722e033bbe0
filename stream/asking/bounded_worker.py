"""Work beside the event loop, in one thread and bounded: who comes too many is turned away at once.

Tested by tests/unit/stream/asking/test_views.py and tests/integration/test_web.py.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

MOST_WAITING = 32
# Of one core, in the long run; and at once.
SHARE, BURST_S = 0.25, 4.0
# The first call of a process may compile: that is not its client's to pay.
MOST_OF_FIRST_S = 2.0
T = TypeVar("T")


class WorkBudget:
    """Processor time for the curious, so that the stream keeps its cores however many ask.

    Who asks is told to wait while more was spent than there was; what a call takes is known after it. Asked
    by one thread, paid by another.

    >>> budget = WorkBudget(clock_s=lambda: 0.0)
    >>> budget.spend(2.0); budget.wait_s()
    0.0
    >>> budget.spend(2.0); budget.spend(0.5); budget.wait_s()
    2.0
    """

    def __init__(self, threads: int = 1, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._threads, self._clock_s = threads, clock_s
        self._left_s, self._at_s = BURST_S, clock_s()
        self._is_first = True
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Seconds until there is something to spend, 0 where there is."""
        with self._lock:
            now_s = self._clock_s()
            self._left_s = min(BURST_S, self._left_s + (now_s - self._at_s) * SHARE)
            self._at_s = now_s
            return max(0.0, -self._left_s) / SHARE

    def pay_for(self, do: Callable[..., T], *arguments: Any) -> T:
        """Run `do(*arguments)`, which takes `threads` processors, and pay, also where it raises."""
        began_s = time.thread_time()
        try:
            return do(*arguments)
        finally:
            self.spend((time.thread_time() - began_s) * self._threads)

    def spend(self, processor_s: float) -> None:
        """Pay for a call."""
        with self._lock:
            self._left_s -= min(processor_s, MOST_OF_FIRST_S) if self._is_first else processor_s
            self._is_first = False


class BoundedWorker:
    """One thread that accepts work while fewer than `most` calls are in it.

    What each takes is paid from `budget`, if there is one, also where it fails; `wait_s` is asked before.

    >>> asyncio.run(BoundedWorker("sums")(sum, [1, 2]))
    3
    """

    def __init__(self, name: str, most: int = MOST_WAITING, budget: WorkBudget | None = None) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.most = most
        self._budget = budget
        self._waiting = 0

    def wait_s(self) -> float:
        """Seconds until there is something to spend; 0 where there is, or nothing is to be paid."""
        return 0.0 if self._budget is None else self._budget.wait_s()

    async def __call__(self, do: Callable[..., T], *arguments: Any) -> T | None:
        """Run `do(*arguments)` in the thread; returns None when `most` calls are in it already."""
        if self._waiting >= self.most:
            return None
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            if self._budget is None:
                return await loop.run_in_executor(self._thread, do, *arguments)
            return await loop.run_in_executor(self._thread, self._budget.pay_for, do, *arguments)
        finally:
            self._waiting -= 1
