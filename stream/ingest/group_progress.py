"""The group of ingesters: the settings of a member, and whether all of them have ingested what there was.

Tested by tests/faults/test_ingest.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import metadata
from stream.kafka.consumers import committed_offsets, offset_bounds, outside_consumer, sharing_config
from stream.kafka.topic_id import SourceTopics
from stream.settings import Settings

Place = tuple[str, int]
PURPOSE = "ingest"


class GroupProgress:
    """What the group has committed of `topics`, against their ends now."""

    def __init__(self, settings: Settings, topics: Iterable[str]) -> None:
        """Raises NextclickError for a topic that is not there."""
        # A client of its own: while a member joins its group, its connection answers nothing else.
        self._group = outside_consumer(settings, group_of(settings), {"log_level": 0})
        self._ends: dict[Place, int] = {}
        for topic in topics:
            there = metadata(self._group, settings, topic).topics[topic]
            if there.error is not None or not there.partitions:
                raise _no_topic(topic, there.error)
            for number in there.partitions:
                low, high = offset_bounds(self._group, TopicPartition(topic, number))
                if low < high:
                    self._ends[topic, number] = high

    def is_done(self, positions: Mapping[Place, int], known: SourceTopics) -> bool:
        """Whether everything up to these ends is committed; `positions` are a member's own.

        What was committed of a topic before one of `known` counts for nothing.
        """
        if any(positions.get(place, end) < end for place, end in self._ends.items()):
            return False
        others = [place for place in self._ends if place not in positions]
        if not others:
            return True
        committed = committed_offsets(self._group, [TopicPartition(*place) for place in others])
        return all(
            at.offset >= self._ends[at.topic, at.partition] and not known.is_of_another(at)
            for at in committed
        )


def _no_topic(topic: str, error: KafkaError | None) -> NextclickError:
    return NextclickError(
        f"the topic {topic} cannot be ingested: {error.str() if error else 'it has no partitions'}",
        "Topics of one's own are not made here; nothing was read.",
        "Name a topic that is there, in --from or NEXTCLICK_INGEST_FROM; with ACLs grant the right to read "
        "it: `nextclick acls --role ingest --apply`.",
    )


def group_of(settings: Settings) -> str:
    """The group that shares the topics among ingesters."""
    return f"{settings.group_id}-{PURPOSE}"


def consumer_config(settings: Settings) -> dict[str, Any]:
    """The settings of a member of the group."""
    shared = sharing_config(settings, PURPOSE, "cooperative-sticky")
    return {**shared, "isolation.level": "read_committed"}
