"""Waves: events that are stepped together, at most one of each session.

Takes arrivals in offset order and cuts waves from them: order within a session is kept,
an event whose session is already in the wave waits for the next one. Knows neither Kafka
nor the model. Each wave says, per partition, up to where everything has been taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from stream.events import Event


class Arrival:
    """One record of `events` on its way through a wave.

    `event` is None where the record was rejected, with its `reason`. `watermark_ms` is the
    partition's largest event time before this record; `received_ns` is monotonic.
    """

    __slots__ = ("event", "key", "offset", "partition", "reason", "received_ns", "value", "watermark_ms")

    def __init__(
        self,
        partition: int,
        offset: int,
        event: Event | None,
        watermark_ms: int,
        received_ns: int,
        *,
        reason: str = "",
        key: bytes | None = None,
        value: bytes | None = None,
    ) -> None:
        self.partition = partition
        self.offset = offset
        self.event = event
        self.watermark_ms = watermark_ms
        self.received_ns = received_ns
        self.reason = reason
        self.key = key
        self.value = value


@dataclass(slots=True)
class Wave:
    """Arrivals to be stepped together.

    `positions` maps each touched partition to (position, watermark_ms): every record below
    the position is in this wave or an earlier one, the watermark is that of those records.
    """

    arrivals: list[Arrival]
    positions: dict[int, tuple[int, int]] = field(default_factory=dict)


class WaveCutter:
    """Cuts waves of at most `size` arrivals, one per session."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[Arrival] = deque()
        self._read: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, arrival: Arrival) -> None:
        """Queue an arrival; arrivals of one partition come in offset order."""
        self._waiting.append(arrival)
        watermark_ms = arrival.watermark_ms
        if arrival.event is not None:
            watermark_ms = max(watermark_ms, arrival.event.event_time_ms)
        self._read[arrival.partition] = (arrival.offset + 1, watermark_ms)

    def cut(self) -> Wave | None:
        """The next wave, or None when nothing waits."""
        if not self._waiting:
            return None
        taken: list[Arrival] = []
        sessions: set[str] = set()
        left: deque[Arrival] = deque()
        waiting = self._waiting
        while waiting and len(taken) < self._size:
            arrival = waiting.popleft()
            if arrival.event is not None:
                session = arrival.event.session_id
                if session in sessions:
                    left.append(arrival)
                    continue
                sessions.add(session)
            taken.append(arrival)
        left.extend(waiting)
        self._waiting = left
        positions = {a.partition: self._read[a.partition] for a in taken}
        for arrival in reversed(left):
            if arrival.partition in positions:
                positions[arrival.partition] = (arrival.offset, arrival.watermark_ms)
        return Wave(taken, positions)
