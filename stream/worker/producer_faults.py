"""What the producers of `events` owe the worker, held against what they send.

A record lies on the partition that murmur2 of its session id names, has that id as its key, and a
time in milliseconds. The first is checked for every event of a batch in one compiled call. Misplaced
and keyless events are stepped; the other faults are also reasons of dead letters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np

from stream.kafka.batch_partitioner import partitions_of
from stream.logs import happening

LOG_EVERY_S = 60.0
MEANINGS = {
    "misplaced": "lie on another partition than murmur2 of their session names",
    "no_key": "have no key",
    "key_mismatch": "have a key that is not their session, and are rejected",
    "past": "have a time before min_event_time_ms, seconds maybe, and are rejected",
    "future": "have a time ahead of the wall, and are rejected",
}
FAULTS = tuple(MEANINGS)
logger = logging.getLogger(__name__)


class ProducerFaults:
    """Counts faults by `count`, and logs each kind at most once in LOG_EVERY_S.

    An event may have several. Used by the source's thread alone.

    >>> found = []
    >>> faults = ProducerFaults(4, lambda fault, events: found.append((fault, events)))
    >>> faults.add_event(2, 0, "a session", b"a session")
    >>> faults.add_event(3, 0, "a session", b"a session")
    >>> faults.review()
    >>> found
    [('misplaced', 1)]
    """

    def __init__(
        self,
        partitions: int,
        count: Callable[[str, int], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._partitions = partitions
        self._count = count
        self._now_s = now_s
        self._session_ids: list[bytes] = []
        self._places: list[tuple[int, int]] = []
        # By fault: how many are not counted yet, how many not logged, and where the last one is.
        self._new: dict[str, int] = {}
        self._unlogged = dict.fromkeys(FAULTS, 0)
        self._last: dict[str, tuple[int, int]] = {}
        self._logged_s: dict[str, float] = {}

    def add_event(self, partition: int, offset: int, session_id: str, key: bytes | None) -> None:
        """Add an accepted event; its key, where it has one, is its session id."""
        self._session_ids.append(session_id.encode() if key is None else key)
        self._places.append((partition, offset))
        if key is None:
            self._add("no_key", 1, (partition, offset))

    def add_rejected(self, partition: int, offset: int, reason: str) -> None:
        """Add a rejected record; reasons that are no producer's fault of this kind are passed over."""
        if reason in MEANINGS:
            self._add(reason, 1, (partition, offset))

    def review(self) -> None:
        """Check the placement of the events added since the last review; count and log what was found."""
        if self._places:
            expected = partitions_of(self._session_ids, self._partitions)
            actual = np.fromiter((partition for partition, _ in self._places), np.int64, len(self._places))
            (wrong,) = np.nonzero(expected != actual)
            if len(wrong):
                self._add("misplaced", len(wrong), self._places[wrong[-1]])
            self._session_ids.clear()
            self._places.clear()
        if self._new:
            for fault, events in self._new.items():
                self._count(fault, events)
                self._log(fault, events)
            self._new.clear()

    def _add(self, fault: str, events: int, place: tuple[int, int]) -> None:
        self._new[fault] = self._new.get(fault, 0) + events
        self._last[fault] = place

    def _log(self, fault: str, events: int) -> None:
        self._unlogged[fault] += events
        now_s, logged_s = self._now_s(), self._logged_s.get(fault)
        if logged_s is not None and now_s - logged_s < LOG_EVERY_S:
            return
        partition, offset = self._last[fault]
        logger.warning(
            "a producer's fault: %d events %s; the last at partition %d, offset %d",
            self._unlogged[fault],
            MEANINGS[fault],
            partition,
            offset,
            extra=happening(
                "producer_fault",
                fault=fault,
                events=self._unlogged[fault],
                partition=partition,
                offset=offset,
            ),
        )
        self._logged_s[fault] = now_s
        self._unlogged[fault] = 0
