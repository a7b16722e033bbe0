"""How far a partition's records have gone into the states, when they do not go in one after the other.

The source's thread adds records in offset order, the step threads take them in whatever order
their waves have; those below the frontier are all taken.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile

from stream.sessions.watermark import NO_WATERMARK, Watermark


class Frontier:
    """The records of a partition that are read and not taken, each with the watermark before it."""

    def __init__(self) -> None:
        self._untaken: OrderedDict[int, Watermark] = OrderedDict()
        self._read = (0, NO_WATERMARK)
        self._lock = threading.Lock()

    def add(self, offset: int, before: Watermark, after: Watermark) -> None:
        """Notice a record that was read, with the watermarks before and after it; in offset order."""
        with self._lock:
            self._untaken[offset] = before
            self._read = (offset + 1, after)

    def move(self, position: int, watermark: Watermark) -> None:
        """Move the watermark behind the last record without another one."""
        with self._lock:
            self._read = (position, watermark)

    def take(self, offsets: Iterable[int]) -> tuple[int, Watermark]:
        """Take records in → (position, watermark): all below it are taken, the watermark is theirs."""
        with self._lock:
            for offset in offsets:
                del self._untaken[offset]
            return next(iter(self._untaken.items()), self._read)

    def untaken_below(self, top: int) -> list[int]:
        """The offsets below `top` that are not taken, in order."""
        with self._lock:
            return list(takewhile(lambda offset: offset < top, self._untaken))
