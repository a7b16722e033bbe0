"""One partition of both topics while it is recorded: its join, and from where each topic is read on.

Tested by tests/unit/stream/outcomes/test_recorder_offsets.py, test_recorder_restarts.py and
tests/faults/test_outcomes.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.topic_id import other_id
from stream.outcomes.kept_events import KeptEvents
from stream.outcomes.outcome import Outcome
from stream.outcomes.outcome_join import OutcomeJoin
from stream.outcomes.recorder_offsets import Resumed


class JoinedTopics(NamedTuple):
    """The names of both topics, and the ids of the topics that have them."""

    events: str
    lists: str
    ids: Mapping[str, str]

    def check(self, admin: AdminClient) -> None:
        """Raise NextclickError when a topic was made anew since: its offsets are others."""
        for topic, known in self.ids.items():
            now = other_id(admin, topic, known)
            if now is not None:
                raise made_anew(topic, f"its id was {known}, is {now}")


def made_anew(topic: str, why: str) -> NextclickError:
    """The error of a topic that is another one than at the recorder's start."""
    return NextclickError(
        f"the topic {topic} was made anew while its outcomes were recorded: {why}",
        "Offsets of both would be taken for each other; nothing of this batch was written.",
        "Start `nextclick outcomes` again: of a topic that was made anew it reads the beginning.",
    )


@dataclass
class RecordedPartition:
    """Lists below `again_until` have their outcomes, and from `again_from` on they are read again to know it.

    Events below `read_events` were read before a restart. `ended` and `paused` are names of topics.
    """

    join: OutcomeJoin
    next_event: int
    next_list: int
    again_until: int
    again_from: int = 0
    read_events: int = 0
    newest_s: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def end(self, topic: str, offset: int, topics: JoinedTopics) -> None:
        """A topic has been read to its end; its last offsets may hold no records."""
        self.ended.add(topic)
        if topic == topics.events:
            self.next_event = max(offset, self.next_event)
        else:
            self.next_list = max(offset, self.next_list)

    def pass_over(self, topic: str, low: int, topics: JoinedTopics) -> int:
        """Go on at `low`, the log's first record: how many are lost that nothing was made of before."""
        if topic == topics.events:
            lost = low - max(self.next_event, self.read_events)
            self.next_event = max(low, self.next_event)
            self.join.begin_anew(self.next_event)
        else:
            lost = low - max(self.next_list, self.again_until)
            self.next_list = max(low, self.next_list)
        return max(0, lost)

    def offsets(self, number: int, topics: JoinedTopics) -> list[TopicPartition]:
        """The offsets to commit of both topics, with what is read again beside them.

        Until the lists that had their outcomes before a restart are joined again, the join does not know
        of all of them: the next restart begins with the same ones.
        """
        kept, waiting, first = self.join.kept, self.join.waiting, self.join.first_list
        joined = waiting[0].offset if waiting else self.next_list
        done = max(self.again_until, joined)
        if joined < self.again_until:
            first = self.again_from if first is None else min(first, self.again_from)
        of_events = Resumed(kept.first, topics.ids[topics.events], kept.first_watermark)
        of_lists = Resumed(done if first is None else first, topics.ids[topics.lists])
        read_events = max(self.next_event, self.read_events)
        return [
            TopicPartition(topics.events, number, read_events, of_events.text()),
            TopicPartition(topics.lists, number, done, of_lists.text()),
        ]


def resumed_partition(
    topics: JoinedTopics,
    committed: Mapping[str, TopicPartition],
    bounds: Mapping[str, tuple[int, int]],
    join_of: Callable[[KeptEvents], OutcomeJoin],
) -> tuple[RecordedPartition, Counter[str]]:
    """A partition as it was committed, and by topic how many records the log has lost since.

    `committed` and `bounds`, the log's first offset and the one after its last, are by topic. What was
    committed of another topic of the name counts for nothing.
    """
    lost: Counter[str] = Counter()
    read = {
        name: Resumed.read(at.metadata, topics.ids[name]) for name, at in committed.items() if at.offset >= 0
    }
    low, high = bounds[topics.events]
    events, read_events = read.get(topics.events), low
    if events is None:
        kept = KeptEvents(low)
    else:
        # Those before it were read, and are only read again.
        offset = committed[topics.events].offset
        lost[topics.events] = max(0, low - offset)
        read_events = offset if low <= offset <= high else low
        kept = KeptEvents(events.first if low <= events.first <= high else low, events.watermark)
    low, high = bounds[topics.lists]
    lists, done = read.get(topics.lists), low
    if lists is not None:
        offset = committed[topics.lists].offset
        lost[topics.lists] = max(0, low - offset)
        done = offset if low <= offset <= high else low
    first = done if lists is None else min(done, max(low, lists.first))
    return RecordedPartition(join_of(kept), kept.first, first, done, first, read_events), lost
