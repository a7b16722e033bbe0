"""Work beside the event loop, in one thread and bounded: who comes too many is turned away at once.

Tested by tests/unit/stream/asking/test_views.py and tests/integration/test_web.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

MOST_WAITING = 32
T = TypeVar("T")


class BoundedWorker:
    """One thread that accepts work while fewer than `most` calls are in it.

    >>> asyncio.run(BoundedWorker("sums")(sum, [1, 2]))
    3
    """

    def __init__(self, name: str, most: int = MOST_WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most = most
        self._waiting = 0

    async def __call__(self, do: Callable[..., T], *arguments: Any) -> T | None:
        """Run `do(*arguments)` in the thread; returns None when `most` calls are in it already."""
        if self._waiting >= self._most:
            return None
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)
        finally:
            self._waiting -= 1
