"""How far a partition's records have gone into the states, when they do not go in one after the other.

The source's thread adds records in offset order, a step thread takes them in whatever order its
waves have; those below the frontier are all taken.
"""

from __future__ import annotations

from collections import deque

from stream.watermark import NO_WATERMARK, Watermark
from stream.waves import Arrival


class Frontier:
    """The first record of a partition that is read and not taken, and the watermark before it."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._read = (0, NO_WATERMARK)

    def add(self, arrival: Arrival, after: Watermark) -> None:
        """Notice a record that was read, `after` which the watermark is that; in offset order."""
        # In this order, for the other thread: what is read is waiting already.
        self._waiting.append(arrival)
        self._read = (arrival.offset + 1, after)

    def move(self, position: int, watermark: Watermark) -> None:
        """Move the watermark behind the last record without another one."""
        self._read = (position, watermark)

    def now(self) -> tuple[int, Watermark]:
        """(position, watermark): every record below the position is taken; the watermark is theirs."""
        read, waiting = self._read, self._waiting
        while waiting and waiting[0].taken:
            waiting.popleft()
        return (waiting[0].offset, waiting[0].watermark) if waiting else read
