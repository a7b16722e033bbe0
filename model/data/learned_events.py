"""The events that a version has learned from, by which a worker knows them again: they are in-sample.

A list that is scored on an event its version has learned from flatters: a network remembers. Such
events are scored apart, and no alert and no rollback is decided by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LearnedEvents:
    """Events up to `until_ms` of event time; of `offsets` [first, end) by partition also up to `newest_ms`.

    An event up to `until_ms` counts as learned although it may have come late, since an event that is
    replayed into another topic has the same time and other offsets. `offsets` tell what was learned of
    events that were stamped ahead of the wall clock, which `until_ms` never is; they are of the topic with
    the id `topic_id`, "" where it is not known. `until_ms` is None where the manifest does not record what
    was learned.

    >>> learned = LearnedEvents.of({"last_event_time_ms": 5_000, "source": "events"}, topic="events")
    >>> learned.has(0, 17, 5_000), learned.has(0, 18, 5_001)
    (True, False)
    """

    until_ms: int | None = None
    newest_ms: int = 0
    offsets: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    topic_id: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any], topic: str = "") -> LearnedEvents:
        """Returns what the data of a manifest record; its offsets are of use in the topic they came from."""
        until_ms = data.get("learned_until_ms", data.get("last_event_time_ms"))
        if not isinstance(until_ms, int):
            return cls()
        offsets = data.get("offsets") if data.get("source") == topic else None
        newest_ms = data.get("newest_event_time_ms", until_ms)
        learned = {int(n): (a, b) for n, (a, b) in (offsets or {}).items()}
        return cls(until_ms, int(newest_ms), learned, data.get("topic_id") or "")

    @property
    def is_recorded(self) -> bool:
        """Whether the manifest says what was learned."""
        return self.until_ms is not None

    def has(self, partition: int, offset: int, time_ms: int, topic_id: str = "") -> bool:
        """Whether the version has learned from an event; False where that is not recorded.

        Offsets mean nothing in another topic of the same name: where both ids are known they must agree.
        """
        if self.until_ms is None:
            return False
        if time_ms <= self.until_ms:
            return True
        if time_ms > self.newest_ms or (self.topic_id and topic_id and self.topic_id != topic_id):
            return False
        first, end = self.offsets.get(partition, (0, 0))
        return first <= offset < end
