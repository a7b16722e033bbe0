"""Samples of the newest lists, a few each second, and the delay of every wave, for the live page.

The sink's thread adds each durable wave in constant time; the snapshot's thread reads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream.wave.stepped_wave import RecommendedList, SteppedWave

LISTS_PER_S = 4.0
KEPT_LISTS = 12
# Delays kept until they are popped; beyond it the oldest are dropped.
MOST_WAVES = 20_000


@dataclass(frozen=True, slots=True)
class ShownList:
    """One published list, the wall time at which it was durable, and its delay since its event was read."""

    shown: RecommendedList
    item_id: str
    wall_ms: int
    delay_ms: float


class RecentLists:
    """Samples of the lists, and the delays of the waves; one thread adds, another reads."""

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._next_ns = 0
        self._delays_ms: deque[float] = deque(maxlen=MOST_WAVES)
        self.lists: deque[ShownList] = deque(maxlen=KEPT_LISTS)

    def add(self, stepped: SteppedWave) -> None:
        """Add the delay of a durable wave, and one of its lists if the last sample is old enough."""
        if not stepped.lists:
            return
        now_ns = self._now_ns()
        oldest_ns = min(shown.arrival.received_ns for shown in stepped.lists)
        self._delays_ms.append((now_ns - oldest_ns) / 1e6)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + int(1e9 / LISTS_PER_S)
            shown = stepped.lists[-1]
            event = shown.arrival.event
            delay_ms = (now_ns - shown.arrival.received_ns) / 1e6
            item_id = "" if event is None else event.item_id
            self.lists.append(ShownList(shown, item_id, int(time.time() * 1000), delay_ms))

    def pop_delays_ms(self) -> list[float]:
        """The delay of each wave since the last call, from reading its oldest event to its durable lists."""
        taken = []
        while self._delays_ms:
            taken.append(self._delays_ms.popleft())
        return taken
