"""The events of one partition that lists may have led to, and the event time at which each was read.

Event time is the partition's watermark, as the worker has it: a function of the records below an offset. So
reading on from `first`, where the watermark was `first_watermark`, gives the same times again. Memory, with
ids of 36 characters: about 280 bytes an event where a session has five of them, and 500 where every event has
a session and an item of its own; from the first event that a list still needs.

Tested by tests/unit/stream/outcomes/test_kept_events.py and test_outcome_join.py.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from stream.events import Event
from stream.sessions.watermark import NO_WATERMARK, Watermark

# Events are forgotten by so many: a watermark is kept for each of these.
CHUNK = 1_024


class KeptEvent(NamedTuple):
    """What is kept of an event: `read_ms` is the watermark after it."""

    offset: int
    time_ms: int
    read_ms: int
    item_id: str
    kind: str
    price: float | None


class KeptEvents:
    """Events by session and by offset, from `first` to `end`.

    >>> kept = KeptEvents(5)
    >>> kept.add(5, Event("s", 1_000, "i"))
    >>> kept.add(6, Event("s", 3_000, "j"))
    >>> [event.item_id for event in kept.after("s", 5)], kept.read_ms(5)
    (['j'], 1000)
    """

    def __init__(self, first: int = 0, watermark: Watermark = NO_WATERMARK) -> None:
        self.first = self.end = first
        self.watermark = watermark
        self._marks: deque[Watermark] = deque([watermark])
        self._read_ms: array[int] = array("q")
        self._sessions: list[str | None] = []
        self._by_session: dict[str, list[KeptEvent]] = {}
        # Items and sessions stand in many events: each text is kept once.
        self._texts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def first_watermark(self) -> Watermark:
        """The watermark before the event at `first`."""
        return self._marks[0]

    def add(self, offset: int, event: Event | None) -> None:
        """Add the next record, None for one that is no event; offsets between hold no records."""
        while self.end < offset:
            self._append(None)
        if event is None:
            self._append(None)
            return
        # The first event of a log says what time it is there.
        watermark = self.watermark if self.watermark.ms else Watermark(event.event_time_ms)
        self.watermark = watermark.after(event.session_id, event.event_time_ms)
        session_id = self._texts.setdefault(event.session_id, event.session_id)
        item_id = self._texts.setdefault(event.item_id, event.item_id)
        self._append(session_id)
        kept = KeptEvent(offset, event.event_time_ms, self.watermark.ms, item_id, event.kind, event.price)
        self._by_session.setdefault(session_id, []).append(kept)

    def _append(self, session_id: str | None) -> None:
        self.end += 1
        self._read_ms.append(self.watermark.ms)
        self._sessions.append(session_id)
        if len(self._sessions) % CHUNK == 0:
            self._marks.append(self.watermark)

    def read_ms(self, offset: int) -> int:
        """The watermark after the record at an offset in [first, end)."""
        return self._read_ms[offset - self.first]

    def event(self, session_id: str, offset: int) -> KeptEvent | None:
        """The event of this session at this offset, None where there is none."""
        events = self._by_session.get(session_id, [])
        place = bisect_left(events, offset, key=lambda event: event.offset)
        return events[place] if place < len(events) and events[place].offset == offset else None

    def after(self, session_id: str, offset: int) -> Iterator[KeptEvent]:
        """The later events of a session, in the log's order."""
        events = self._by_session.get(session_id, [])
        for place in range(bisect_left(events, offset + 1, key=lambda event: event.offset), len(events)):
            yield events[place]

    def forget(self, end: int) -> None:
        """Forget events below `end`, whole chunks of them."""
        chunks = max(0, min(end, self.end) - self.first) // CHUNK
        if not chunks:
            return
        count = chunks * CHUNK
        self.first += count
        for session_id in {one for one in self._sessions[:count] if one is not None}:
            left = [event for event in self._by_session[session_id] if event.offset >= self.first]
            if left:
                self._by_session[session_id] = left
            else:
                del self._by_session[session_id]
        del self._read_ms[:count], self._sessions[:count]
        for _ in range(chunks):
            self._marks.popleft()
        if len(self._texts) > 4 * len(self) + CHUNK:
            texts = {event.item_id: event.item_id for events in self._by_session.values() for event in events}
            self._texts = texts | {session_id: session_id for session_id in self._by_session}
