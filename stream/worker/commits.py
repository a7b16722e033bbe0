"""Offsets that are written (step 9) and not committed to Kafka yet.

The sink's thread adds them, the source's thread commits them. Refused offsets are kept for the next
turn, since without further events nothing else would commit them. The next turn waits for the
answer to the last: a repeated request could arrive after a newer one, and set the group back.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable

from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets, decode_metadata, encode_metadata


class Commits:
    """The newest written offsets of each partition of `topic`.

    >>> commits = Commits("events")
    >>> commits.add({0: AppliedOffsets(position=5)})
    >>> [(tp.partition, tp.offset) for tp in commits.pop_due(owned={0})]
    [(0, 5)]
    >>> commits.pop_due(owned={0})
    []
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._waiting: dict[int, AppliedOffsets] = {}
        self._asked: dict[int, AppliedOffsets] = {}
        self._unanswered = False

    def add(self, written: dict[int, AppliedOffsets]) -> None:
        """Have written offsets committed; from any thread."""
        with self._lock:
            self._waiting.update(written)

    def add_opened(self, number: int, durable: AppliedOffsets, committed: TopicPartition | None) -> None:
        """Have an opened store committed, where the group is behind it, or does not name its topic.

        A store that is ahead of the group was written by a worker that ended before its commit: without
        further events nothing else would commit it.
        """
        known = committed is not None and committed.offset >= 0
        metadata = decode_metadata(committed.metadata) if committed is not None else None
        named = metadata.topic_id if metadata is not None else ""
        is_ahead = durable.position > (committed.offset if committed is not None and known else 0)
        if is_ahead or (known and durable.topic_id not in ("", named)):
            self.add({number: durable})

    def pop_due(self, owned: Container[int]) -> list[TopicPartition]:
        """The offsets to commit now, of `owned` partitions; none until the last request is `answered`."""
        if self._unanswered:
            return []
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        asked = {number: written for number, written in waiting.items() if number in owned}
        self._asked.update(asked)
        self._unanswered = bool(asked)
        return self.as_offsets(asked)

    def answered(self) -> None:
        """The group has accepted or refused the last request."""
        self._unanswered = False

    def forget(self, numbers: Iterable[int]) -> None:
        """Commit nothing more for partitions that were given up: their next owners do."""
        with self._lock:
            for number in numbers:
                self._asked.pop(number, None)
                self._waiting.pop(number, None)

    def refused(self, partitions: list[TopicPartition]) -> None:
        """Keep refused offsets for the next turn, where no newer ones wait."""
        with self._lock:
            for tp in partitions:
                if tp.partition in self._asked:
                    self._waiting.setdefault(tp.partition, self._asked[tp.partition])

    def as_offsets(self, written: dict[int, AppliedOffsets]) -> list[TopicPartition]:
        """Applied offsets as Kafka's, with watermark and `recover_from` as metadata."""
        return [
            TopicPartition(self._topic, number, applied.position, encode_metadata(applied))
            for number, applied in written.items()
        ]
