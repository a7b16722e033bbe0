"""Fences that are written and not committed to Kafka yet.

Added by the publishing thread, taken by the reading one. What the group refuses is kept for
the next turn: without further events nothing else would commit it. The next turn waits for the
answer to the last: a request that is repeated could come behind a newer one, and set the group back.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable

from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets, encode_metadata


class Commits:
    """The newest fence of each partition of `topic`."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._waiting: dict[int, AppliedOffsets] = {}
        self._asked: dict[int, AppliedOffsets] = {}
        self._unanswered = False

    def add(self, all_applied: dict[int, AppliedOffsets]) -> None:
        """Have written fences committed; from any thread."""
        with self._lock:
            self._waiting.update(all_applied)

    def take(self, owned: Container[int]) -> list[TopicPartition]:
        """What is to be committed now, of the partitions that are `owned`; `answered` allows the next."""
        if self._unanswered:
            return []
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        asked = {number: applied for number, applied in waiting.items() if number in owned}
        self._asked.update(asked)
        self._unanswered = bool(asked)
        return self.offsets(asked)

    def answered(self) -> None:
        """The group has taken or refused what was to be committed."""
        self._unanswered = False

    def forget(self, numbers: Iterable[int]) -> None:
        """Ask no more for partitions that were given up: they are others' to commit."""
        with self._lock:
            for number in numbers:
                self._asked.pop(number, None)
                self._waiting.pop(number, None)

    def refused(self, partitions: list[TopicPartition]) -> None:
        """Keep what was asked for in vain, where nothing newer waits."""
        with self._lock:
            for tp in partitions:
                if tp.partition in self._asked:
                    self._waiting.setdefault(tp.partition, self._asked[tp.partition])

    def offsets(self, all_applied: dict[int, AppliedOffsets]) -> list[TopicPartition]:
        """Fences as offsets, with watermark and `recover_from` as metadata."""
        return [
            TopicPartition(self._topic, number, applied.position, encode_metadata(applied))
            for number, applied in all_applied.items()
        ]
