"""What became of events: which have their list, which have two, and how long each partition had none.

Reads the topic of lists as it grows, by offsets of its own. A list belongs to an event by its id, a partition
and an offset. A second list of an event is as it should be after a crash, as long as its bytes are the same.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks.load.traffic import QUIET
from model.errors import NextclickError
from stream.events import decode_recommendation
from stream.kafka.consumers import committed_offsets, groupless_consumer, offset_bounds, outside_consumer
from stream.settings import Settings

POLL_S = 0.2
AT_ONCE = 5_000


@dataclass(frozen=True)
class Served:
    """Of the events of a span of time: without a list, with two equal ones, with two that differ.

    `gaps_s` are the longest times between two lists of each partition.
    """

    events: int
    lost: int
    repeated: int
    changed: int
    gaps_s: dict[int, float]

    @property
    def gap_s(self) -> float:
        """The longest of all partitions.

        >>> Served(9, 0, 0, 0, {0: 0.4, 1: 1.9}).gap_s
        1.9
        """
        return max(self.gaps_s.values(), default=0.0)


class ListAccount:
    """`begin` a span of time, and `end` it once every event that was there by then has been served."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._positions = dict.fromkeys(range(settings.partitions), 0)
        self._lists, self._group = self._clients()
        self._digests: dict[str, bytes] = {}
        # Of the span: when lists came, by partition, epoch seconds.
        self._times_s: defaultdict[int, list[float]] = defaultdict(list)
        self._begins: dict[int, int] = {}
        self._repeated = self._changed = 0

    def begin(self) -> None:
        """Begin a span: its events are those that come from now on."""
        self._connect()
        self._read_on()
        self._begins = self._event_ends()
        self._times_s = defaultdict(list, {n: times[-1:] for n, times in self._times_s.items()})
        self._repeated = self._changed = 0

    def end(self, timeout_s: float) -> Served:
        """Wait until the group has committed what has come by now. Raises NextclickError if it does not."""
        self._connect()
        ends = self._event_ends()
        deadline = time.monotonic() + timeout_s
        while behind := self._not_committed(ends):
            if time.monotonic() > deadline:
                raise NextclickError(
                    f"after {timeout_s:.0f} s events of partitions {behind} were not served",
                    "What was lost is not known.",
                    "Look at the logs of the workers.",
                )
            time.sleep(POLL_S)
        self._read_on()
        ids = [f"{n}-{offset}" for n, end in ends.items() for offset in range(self._begins[n], end)]
        lost = sum(event_id not in self._digests for event_id in ids)
        return Served(len(ids), lost, self._repeated, self._changed, longest_gaps_s(self._times_s))

    def close(self) -> None:
        """Leave the broker."""
        self._lists.close()
        self._group.close()

    def _connect(self) -> None:
        """Go on with new clients: brokers hang up on one that is silent for as long as a span may last."""
        self.close()
        self._lists, self._group = self._clients()

    def _clients(self) -> tuple[Consumer, Consumer]:
        settings = self._settings
        lists = groupless_consumer(settings, "account", {"auto.offset.reset": "earliest", **QUIET})
        topic = settings.recommendations_topic
        lists.assign([TopicPartition(topic, number, place) for number, place in self._positions.items()])
        return lists, outside_consumer(settings, settings.group_id, QUIET)

    def _event_ends(self) -> dict[int, int]:
        topic = self._settings.events_topic
        return {n: offset_bounds(self._group, TopicPartition(topic, n))[1] for n in self._positions}

    def _not_committed(self, ends: Mapping[int, int]) -> list[int]:
        places = [TopicPartition(self._settings.events_topic, number) for number in ends]
        return [
            place.partition
            for place in committed_offsets(self._group, places)
            if place.offset < ends[place.partition]
        ]

    def _read_on(self) -> None:
        """Read the lists that are there now."""
        topic = self._settings.recommendations_topic
        ends = {n: offset_bounds(self._lists, TopicPartition(topic, n))[1] for n in self._positions}
        while any(self._positions[number] < end for number, end in ends.items()):
            for message in self._lists.consume(AT_ONCE, timeout=POLL_S):
                number, offset = message.partition(), message.offset()
                # What keeps the client from reading it tries again by itself.
                if message.error() is None and number is not None and offset is not None:
                    self._positions[number] = offset + 1
                    self._times_s[number].append(message.timestamp()[1] / 1000)
                    self._add(message.value() or b"")

    def _add(self, value: bytes) -> None:
        event_id = decode_recommendation(value).event_id
        digest = blake2b(value, digest_size=8).digest()
        before = self._digests.setdefault(event_id, digest)
        if before is not digest:
            self._repeated += before == digest
            self._changed += before != digest


def longest_gaps_s(times_s: Mapping[int, list[float]]) -> dict[int, float]:
    """The longest time between two lists of each partition, in seconds.

    >>> longest_gaps_s({0: [1.0, 1.5, 4.0], 1: [2.0]})
    {0: 2.5, 1: 0.0}
    """
    gaps = {}
    for number, of in sorted(times_s.items()):
        ordered = sorted(of)
        longest = max((later - earlier for earlier, later in pairwise(ordered)), default=0.0)
        gaps[number] = round(longest, 2)
    return gaps
