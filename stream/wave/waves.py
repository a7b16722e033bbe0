"""Step 2 of a wave: cut events that are stepped together, at most one of each session.

Takes arrivals in offset order. Order within a session is kept: an event waits while its session has
an earlier one waiting, and holds up no other session. Each step thread has a cutter (see
stream.worker.lanes); a session's events are all in the same one. Knows neither Kafka nor the model.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from stream.event_decoder import Headers
from stream.events import Event
from stream.sessions.watermark import Watermark


class Arrival:
    """One record of `events` on its way through a wave.

    `event` is None where the record was rejected or left out, for `reason`. `watermark` is the partition's
    before this record; `received_ns` is monotonic. `superseded` says that a newer event of its
    session was waiting when its wave was cut. `origin` is what a dead letter keeps of a record beside its key
    and value, where its time or headers say what it is.
    """

    __slots__ = (
        "event",
        "key",
        "offset",
        "origin",
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
        origin: Headers = (),
    ) -> None:
        self.partition = partition
        self.offset = offset
        self.event = event
        self.watermark = watermark
        self.received_ns = received_ns
        self.reason = reason
        self.key = key
        self.value = value
        self.origin = origin
        self.superseded = False


@dataclass(slots=True)
class Wave:
    """Arrivals of `partitions`, stepped together, at a load-shedding level.

    `lane` is the lane that it was cut from; `number` counts a lane's waves.
    """

    arrivals: list[Arrival]
    partitions: set[int] = field(default_factory=set)
    lane: int = 0
    level: int = 0
    number: int = -1


class WaveCutter:
    """Cuts waves of at most `size` arrivals, one per session.

    >>> from stream.sessions.watermark import NO_WATERMARK
    >>> cutter = WaveCutter(size=64)
    >>> for offset, session in enumerate(["a", "a", "b"]):
    ...     cutter.add(Arrival(0, offset, Event(session, 1_000, "i"), NO_WATERMARK, 0))
    >>> [arrival.offset for arrival in cutter.cut().arrivals]
    [0, 2]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ready: deque[Arrival] = deque()
        # Sessions with an arrival in `_ready`, and their later ones.
        self._later: dict[str, deque[Arrival] | None] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, arrival: Arrival) -> None:
        """Queue an arrival; those of one session come in offset order."""
        self._waiting += 1
        if arrival.event is None:
            self._ready.append(arrival)
            return
        session = arrival.event.session_id
        if session not in self._later:
            self._later[session] = None
            self._ready.append(arrival)
            return
        later = self._later[session]
        if later is None:
            self._later[session] = deque((arrival,))
        else:
            later.append(arrival)

    def cut(self) -> Wave | None:
        """The next wave, or None when nothing waits."""
        ready, later = self._ready, self._later
        if not ready:
            return None
        taken = [ready.popleft() for _ in range(min(self._size, len(ready)))]
        following: list[Arrival] = []
        for arrival in taken:
            if arrival.event is None:
                continue
            session = arrival.event.session_id
            queue = later[session]
            if queue:
                arrival.superseded = True
                following.append(queue.popleft())
            else:
                del later[session]
        # Older than the ready ones, and the applied position waits for them.
        ready.extendleft(reversed(following))
        self._waiting -= len(taken)
        return Wave(taken, {arrival.partition for arrival in taken})
