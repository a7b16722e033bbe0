"""Waves: events that are stepped together, at most one of each session.

Takes arrivals in offset order and cuts waves from them: order within a session is kept,
an event whose session has an earlier one waiting waits behind it, and holds nobody else
up. Knows neither Kafka nor the model. Each wave says, per partition, up to where
everything has been taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from stream.events import Event
from stream.watermark import Watermark


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
        "taken",
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
        self.taken = False
        self.superseded = False


@dataclass(slots=True)
class Wave:
    """Arrivals to be stepped together, at a level of the ladder.

    `positions` maps each touched partition to (position, watermark): every record below the
    position is in this wave or an earlier one, the watermark is that of those records.
    `number` counts the waves of a worker.
    """

    arrivals: list[Arrival]
    positions: dict[int, tuple[int, Watermark]] = field(default_factory=dict)
    level: int = 0
    number: int = -1


class WaveCutter:
    """Cuts waves of at most `size` arrivals, one per session."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: deque[Arrival] = deque()
        self._behind: dict[str, deque[Arrival] | None] = {}
        self._in_order: dict[int, deque[Arrival]] = {}
        self._read: dict[int, tuple[int, Watermark]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, arrival: Arrival, after: Watermark) -> None:
        """Queue an arrival, `after` which the watermark is that; one partition's come in offset order."""
        self._waiting += 1
        number = arrival.partition
        if number not in self._in_order:
            self._in_order[number] = deque()
        self._in_order[number].append(arrival)
        self._read[number] = (arrival.offset + 1, after)
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
            arrival.taken = True
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
        return Wave(taken, {number: self._position(number) for number in {a.partition for a in taken}})

    def _position(self, number: int) -> tuple[int, Watermark]:
        in_order = self._in_order[number]
        while in_order and in_order[0].taken:
            in_order.popleft()
        return (in_order[0].offset, in_order[0].watermark) if in_order else self._read[number]
