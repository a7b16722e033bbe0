"""Some of a topic's records, as they are: of each partition its oldest and its newest.

Tested by tests/integration/test_up.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.event_log.columns import Record, record_of_message
from stream.kafka.topic_reader import TopicReader
from stream.settings import Settings

MOST_RECORDS = 4_000


@dataclass(frozen=True)
class TopicSample:
    """Sampled records, of how many partitions, and how many offsets the topic has in all."""

    records: list[Record]
    partitions: int
    offsets: int


def sampled(settings: Settings, topic: str, most: int = MOST_RECORDS) -> TopicSample:
    """At most about `most` records of a topic. Raises NextclickError when it cannot be read."""
    records: list[Record] = []
    with TopicReader(settings, topic) as reader:
        bounds = reader.bounds()
        each = max(1, most // (2 * max(1, len(bounds))))
        for number, (first, end) in enumerate(bounds):
            oldest = min(first + each, end)
            for begin, until in ((first, oldest), (max(oldest, end - each), end)):
                for batch in reader.read(number, begin, until):
                    records.extend(map(record_of_message, batch))
    return TopicSample(records, len(bounds), sum(end - first for first, end in bounds))
