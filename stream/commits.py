"""Fences that are written and not committed to Kafka yet.

Added by the publishing thread, taken by the reading one. What the group refuses is kept for
the next turn: without further events nothing else would commit it.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable

from confluent_kafka import TopicPartition

from stream.fence import Fence
from stream.recovery import encode_metadata


class Commits:
    """The newest fence of each partition of `topic`."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._waiting: dict[int, Fence] = {}
        self._asked: dict[int, Fence] = {}

    def add(self, fences: dict[int, Fence]) -> None:
        """Have written fences committed; from any thread."""
        with self._lock:
            self._waiting.update(fences)

    def take(self, owned: Container[int]) -> list[TopicPartition]:
        """What is to be committed now, of the partitions that are `owned`."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        asked = {number: fence for number, fence in waiting.items() if number in owned}
        self._asked.update(asked)
        return self.offsets(asked)

    def forget(self, numbers: Iterable[int]) -> None:
        """Ask no more for partitions that were given up: they are others' to commit."""
        for number in numbers:
            self._asked.pop(number, None)

    def refused(self, partitions: list[TopicPartition]) -> None:
        """Keep what was asked for in vain, where nothing newer waits."""
        with self._lock:
            for tp in partitions:
                if tp.partition in self._asked:
                    self._waiting.setdefault(tp.partition, self._asked[tp.partition])

    def offsets(self, fences: dict[int, Fence]) -> list[TopicPartition]:
        """Fences as offsets, with watermark and `recover_from` as metadata."""
        return [
            TopicPartition(self._topic, number, fence.position, encode_metadata(fence))
            for number, fence in fences.items()
        ]
