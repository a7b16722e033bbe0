"""A recorder that dies at any moment, and again before it has read on: each list has one outcome."""

import random
from unittest.mock import patch

from confluent_kafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.events import Event
from stream.outcomes.kept_events import KeptEvents
from stream.outcomes.outcome import Outcome
from stream.outcomes.outcome_join import OutcomeJoin, ShownList
from stream.outcomes.recorded_partition import JoinedTopics, RecordedPartition, resumed_partition
from tests.unit.stream.outcomes.test_outcome_join import LATENESS, START, WITHIN, expected, log, shown, told

TOPICS = JoinedTopics("events", "lists", {"events": "e1", "lists": "l1"})


class Log:
    """Both topics, what is committed of them, and the outcomes that count."""

    def __init__(self, events: list[Event | None], lists: list[ShownList]) -> None:
        self.events, self.lists = events, lists
        self.committed: dict[str, TopicPartition] = {}
        self.outcomes: list[Outcome] = []

    def start(self) -> RecordedPartition:
        """A recorder begins with what is committed."""
        bounds = {"events": (0, len(self.events)), "lists": (0, len(self.lists))}
        one, lost = resumed_partition(
            TOPICS, self.committed, bounds, lambda kept: OutcomeJoin(0, WITHIN, LATENESS, kept)
        )
        assert not lost.total()
        return one

    def read(self, one: RecordedPartition, events: int, lists: int) -> None:
        """Read so many more, and join them."""
        for _ in range(min(events, len(self.events) - one.next_event)):
            one.join.add_event(one.next_event, self.events[one.next_event])
            one.next_event += 1
        for _ in range(min(lists, len(self.lists) - one.next_list)):
            found = self.lists[one.next_list]
            one.join.add_list(found._replace(again=found.offset < one.again_until))
            one.next_list += 1
        one.outcomes += one.join.outcomes()

    def commit(self, one: RecordedPartition) -> None:
        """A transaction: the outcomes with the offsets."""
        self.committed = {at.topic: at for at in one.offsets(0, TOPICS)}
        self.outcomes += one.outcomes
        one.outcomes = []


def test_a_second_kill_before_anything_is_read_doubles_no_list_that_is_published_again() -> None:
    events: list[Event | None] = [Event("s", START + n, "i") for n in range(5)]
    events += [Event(f"u{n}", START + 2 * WITHIN, "i") for n in range(10)]
    first = events[0]
    assert first is not None
    kept = Log(events, [shown(0, 0, first, "i"), shown(1, 0, first, "i")])
    one = kept.start()
    kept.read(one, len(events), 1)
    kept.commit(one)
    # Killed, started, killed as soon as it has committed, and started again; then the list comes once more.
    kept.commit(kept.start())
    one = kept.start()
    kept.read(one, len(events), 2)
    kept.commit(one)
    assert [one.event_id for one in kept.outcomes] == ["0-0"]


# Few events are forgotten at a time, so that a log of a test has some of both.
@patch("stream.outcomes.kept_events.CHUNK", 4)
@patch("stream.outcomes.outcome_join.DISORDER", 12)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_each_list_has_one_outcome_whenever_it_is_killed_and_however_often(seed: int, order: int) -> None:
    events, lists = log(seed)
    kept, chance = Log(events, lists), random.Random(order)
    one = kept.start()
    for _ in range(100):
        kept.read(one, chance.randrange(8), chance.randrange(8))
        if chance.random() < 0.6:
            kept.commit(one)
        if chance.random() < 0.15:
            one = kept.start()
            if chance.random() < 0.5:
                kept.commit(one)
    kept.read(one, len(events), len(lists))
    kept.commit(one)
    assert told(kept.outcomes) == expected(events, lists)


def test_events_committed_never_go_back() -> None:
    events: list[Event | None] = [Event("s", START + n, "i") for n in range(5)]
    kept = Log(events, [])
    one = kept.start()
    kept.read(one, 5, 0)
    kept.commit(one)
    kept.commit(kept.start())
    assert kept.committed["events"].offset == 5
    assert kept.start().join.kept.first == KeptEvents().first
