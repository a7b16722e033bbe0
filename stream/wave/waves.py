"""Waves: events that are stepped together, at most one of each session.

Takes arrivals in offset order and cuts waves from them: order within a session is kept,
an event whose session has an earlier one waiting waits behind it, and holds nobody else
up. Cutters lie side by side, one for each step thread: a session's events are all in the same
one. Knows neither Kafka nor the model.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from stream.events import Event
from stream.sessions.watermark import Watermark


class Arrival:
    """One record of `events` on its way through a wave.

    `event` is None where the record was rejected, with its `reason`. `watermark` is the
    partition's before this record; `received_ns` is monotonic. `superseded`: when its wave
    was cut, a newer event of its session was there.
    """

    __slots__ = (
        "event",
        "key",
        "offset",
        "partition",
        "reason",
        "received_ns",
        "superseded",
        "value",
        "watermark",
    )

    def __init__(
        self,
        partition: int,
        offset: int,
        event: Event | None,
        watermark: Watermark,
        received_ns: int,
        reason: str = "",
        key: bytes | None = None,
        value: bytes | None = None,
    ) -> None:
        self.partition = partition
        self.offset = offset
        self.event = event
        self.watermark = watermark
        self.received_ns = received_ns
        self.reason = reason
        self.key = key
        self.value = value
        self.superseded = False


@dataclass(slots=True)
class Wave:
    """Arrivals of `partitions` to be stepped together, at a level of the ladder.

    `lane` is the cutter it comes from; `number` counts a lane's waves.
    """

    arrivals: list[Arrival]
    partitions: set[int] = field(default_factory=set)
    lane: int = 0
    level: int = 0
    number: int = -1


class WaveCutter:
    """Cuts waves of at most `size` arrivals, one per session."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: deque[Arrival] = deque()
        self._behind: dict[str, deque[Arrival] | None] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, arrival: Arrival) -> None:
        """Queue an arrival; one session's come in offset order."""
        self._waiting += 1
        if arrival.event is None:
            self._ready.append(arrival)
            return
        session = arrival.event.session_id
        if session not in self._behind:
            self._behind[session] = None
            self._ready.append(arrival)
            return
        behind = self._behind[session]
        if behind is None:
            self._behind[session] = deque((arrival,))
        else:
            behind.append(arrival)

    def cut(self) -> Wave | None:
        """The next wave, or None when nothing waits."""
        ready, behind = self._ready, self._behind
        if not ready:
            return None
        taken = [ready.popleft() for _ in range(min(self._size, len(ready)))]
        following: list[Arrival] = []
        for arrival in taken:
            if arrival.event is None:
                continue
            session = arrival.event.session_id
            queue = behind[session]
            if queue:
                arrival.superseded = True
                following.append(queue.popleft())
            else:
                del behind[session]
        # They are older than what is ready, and the position waits for them.
        ready.extendleft(reversed(following))
        self._waiting -= len(taken)
        return Wave(taken, {arrival.partition for arrival in taken})
