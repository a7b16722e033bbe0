"""What a recorder does when the group gives its partitions anew while it commits."""

from collections.abc import Callable
from threading import Event as Flag
from typing import Any
from unittest.mock import Mock, patch

import pytest
from confluent_kafka import KafkaError, TopicPartition

from stream.event_decoder import OWN_EVENTS
from stream.events import Event, encode_event, encode_recommendation
from stream.failpoints import OUTCOMES_POINTS
from stream.ingest.transactions import RebalancedError
from stream.kafka.group_members import GroupMember
from stream.outcomes.outcome_recorder import OutcomeRecorder
from stream.settings import Settings

START = 1_700_000_000_000
MODULE = "stream.outcomes.outcome_recorder"
SETTINGS = Settings(outcomes_within_s=600.0)
PLACES = [TopicPartition(topic, 0) for topic in (SETTINGS.events_topic, SETTINGS.recommendations_topic)]


def message(topic: str, offset: int, value: bytes | None) -> Mock:
    """A record; without a value, that the topic ends."""
    made = Mock(spec=["error", "topic", "partition", "offset", "value", "key", "headers", "timestamp"])
    error = None if value is not None else Mock(code=Mock(return_value=KafkaError._PARTITION_EOF))
    made.error.return_value, made.topic.return_value, made.value.return_value = error, topic, value
    made.partition.return_value, made.offset.return_value, made.key.return_value = 0, offset, None
    made.headers.return_value, made.timestamp.return_value = [], (1, START)
    return made


class Broker:
    """A consumer and the transactions of one partition, whose log has a list that something came of."""

    def __init__(self) -> None:
        events = [Event("s", START, "i"), Event("s", START + 1, "j")]
        events += [Event(f"u{n}", START + 3_600_000, "i") for n in range(10)]
        value = encode_recommendation("s", "0-0", START, "v", ["j"], [1.0])
        logs = {PLACES[0].topic: [encode_event(event) for event in events], PLACES[1].topic: [value]}
        self.log = [
            *(message(topic, n, value) for topic, values in logs.items() for n, value in enumerate(values)),
            *(message(topic, len(values), None) for topic, values in logs.items()),
        ]
        self.ahead: list[Mock] = []
        self.on_assign: Callable[..., None] | None = None
        self.refused, self.places = 0, PLACES
        self.written: list[list[bytes]] = [[]]

    def subscribe(self, topics: list[str], on_assign: Callable[..., None], **_: Any) -> None:
        self.on_assign = on_assign

    def consume(self, count: int, timeout: float) -> list[Mock]:
        if self.on_assign is not None:
            on_assign, self.on_assign = self.on_assign, None
            on_assign(self, self.places)
        found, self.ahead = self.ahead, []
        return found

    def assign(self, starts: list[TopicPartition]) -> None:
        self.ahead = list(self.log)

    def assignment(self) -> list[TopicPartition]:
        return self.places

    def consumer_group_metadata(self) -> str:
        return "group"

    def get_watermark_offsets(self, place: TopicPartition, cached: bool) -> tuple[int, int]:
        return 0, 12

    def begin(self) -> None:
        self.written.append([])

    def produce(self, topic: str, value: bytes, key: bytes, timestamp_ms: int) -> None:
        self.written[-1].append(value)

    def commit(self, offsets: list[TopicPartition], group: str, *, is_counted: bool) -> None:
        assert is_counted == bool(self.written[-1])
        if self.refused:
            self.refused -= 1
            self.written.pop()
            raise RebalancedError


def recorded(broker: Broker) -> OutcomeRecorder:
    def bounds(_: object, place: TopicPartition) -> tuple[int, int]:
        return 0, 12 if place.topic == PLACES[0].topic else 1

    with (
        patch.multiple(
            MODULE,
            AdminClient=Mock(),
            Consumer=Mock(return_value=broker),
            Transactions=Mock(return_value=broker),
            topic_id=Mock(return_value="an-id"),
            committed_offsets=Mock(return_value=[]),
            offset_bounds=bounds,
        ),
        patch("stream.kafka.topic_id.present_id", Mock(return_value="an-id")),
    ):
        recorder = OutcomeRecorder(SETTINGS, OWN_EVENTS)
        recorder.run(Flag(), until_end=True)
    return recorder


@pytest.mark.timeout(20)
@pytest.mark.parametrize("refused", [0, 1, 2])
def test_until_end_ends_only_when_the_last_transaction_counts(refused: int) -> None:
    broker = Broker()
    broker.refused = refused
    recorder = recorded(broker)
    assert [len(values) for values in broker.written if values] == [1]
    assert (recorder.report.lists, recorder.report.outcomes, recorder.report.difference) == (1, 1, 0)


@pytest.mark.timeout(20)
def test_kills_count_only_transactions_that_hold_outcomes() -> None:
    with patch(f"{MODULE}.reach") as reach:
        recorded(Broker())
        assert [call.args for call in reach.call_args_list] == [(OUTCOMES_POINTS[0],)]
        reach.reset_mock()
        broker = Broker()
        # The list is not there yet: events alone.
        broker.log = [one for one in broker.log if one.topic() == PLACES[0].topic or one.value() is None]
        recorded(broker)
    assert not reach.called
    assert not any(broker.written)


@pytest.mark.timeout(120)
def test_one_to_whom_the_group_gives_nothing_ends_once_others_have_every_partition() -> None:
    broker = Broker()
    broker.places = []
    own = GroupMember(f"{SETTINGS.worker_id}-outcomes", "", ())
    first, second = GroupMember("a", "", (0, 1)), GroupMember("b", "", (2, 3))
    # The first time the group is between two assignments.
    members = Mock(side_effect=[[own, first], [own, first, second]])
    with patch.multiple("stream.outcomes.other_recorders", group_members=members, ASK_EVERY_S=0.0):
        recorder = recorded(broker)
    assert members.call_count == 2
    assert members.call_args.args[1].group_id == f"{SETTINGS.group_id}-outcomes"
    assert (recorder.report.lists, recorder.report.outcomes) == (0, 0)
    assert not any(broker.written)
