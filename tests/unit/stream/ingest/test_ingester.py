"""What becomes of a batch when its transaction does not count, or when records are long."""

import json
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from model.errors import NextclickError
from stream.event_decoder import SchemaAwayError
from stream.events import Event, RejectedEvent
from stream.ingest import ingester as ingesters
from stream.ingest.ingester import Ingester
from stream.ingest.listed_events import ListedEvents
from stream.ingest.transactions import RebalancedError, Transactions
from stream.kafka.held_partitions import HeldPartitions
from stream.kafka.topic_id import SourceTopics, made_anew
from stream.settings import Settings

TOPIC = "shop.clicks"


class Record:
    """A record of one partition, or an error in its place."""

    def __init__(self, offset: int, value: object, error: int | None = None, headers: Any = ()) -> None:
        self._offset, self._value, self._headers = offset, json.dumps(value).encode(), list(headers)
        self._error = None if error is None else KafkaError(error)

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def key(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 0, 0

    def headers(self) -> Any:
        return self._headers


class Mapped:
    """A record is its number of events; "away" waits for a schema, "bad" is no event."""

    def events(self, value: bytes, *_: object) -> list[Event]:
        said = json.loads(value)
        if said == "away":
            raise SchemaAwayError(7, "the registry is away")
        if said == "bad":
            raise RejectedEvent("schema")
        return [Event("s", 1, "i")] * said


class Topics:
    """The ids of the topics; `others` are committed offsets of a topic before, `anew`: one is made now."""

    def __init__(self) -> None:
        self.others: list[int] = []
        self.anew = False

    def named(self, topic: str, number: int, offset: int) -> TopicPartition:
        return TopicPartition(topic, number, offset)

    def is_of_another(self, committed: TopicPartition) -> bool:
        return committed.offset in self.others

    def log_other(self, committed: TopicPartition) -> None:
        assert committed.offset in self.others

    def check(self) -> None:
        if self.anew:
            raise made_anew(TOPIC, "a", "b")


class Brokers:
    """The consumer and the transactions; `reading` is where the partition is read from."""

    def __init__(self) -> None:
        self.reading: int | None = 10
        self.low, self.high = 0, 100
        self.committed: list[int] = []
        self.produced: list[tuple[str, Any]] = []
        self.rebalances = 0

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        assert self.reading is None
        (self.reading,) = (place.offset for place in places)

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        assert self.reading is not None
        self.reading = None

    def get_watermark_offsets(self, place: TopicPartition, **_: object) -> tuple[int, int]:
        return self.low, self.high

    def consumer_group_metadata(self) -> None:
        return None

    def begin(self) -> None:
        self.produced.clear()

    def produce(self, topic: str, value: Any, key: Any, time_ms: int, headers: Any = ()) -> None:
        self.produced.append((topic, headers))

    def commit(self, after: list[TopicPartition], _: object) -> None:
        if self.rebalances:
            self.rebalances -= 1
            raise RebalancedError
        self.committed += [place.offset for place in after]


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def ingester(brokers: Brokers) -> Ingester:
    made = Ingester(Settings(ingest_from=f"{TOPIC}=x.toml"), {TOPIC: cast(ListedEvents, Mapped())})
    made._consumer = cast(Consumer, brokers)
    made._transactions = cast(Transactions, brokers)
    made._held = {TOPIC: HeldPartitions(TOPIC, made._consumer)}
    made._topics = cast(SourceTopics, Topics())
    made._positions = {(TOPIC, 0): 10}
    return made


def take(ingester: Ingester, *records: Record) -> None:
    ingester._take(cast(Any, list(records)))


def test_a_partition_that_waits_is_read_again_from_what_is_committed(
    brokers: Brokers, ingester: Ingester
) -> None:
    brokers.rebalances = 1
    take(ingester, Record(10, 1), Record(11, 1), Record(12, "away"))
    # The transaction of 10 and 11 did not count.
    assert (brokers.reading, brokers.committed) == (10, [])
    take(ingester, Record(10, 1), Record(11, 1), Record(12, "away"))
    assert (brokers.reading, brokers.committed) == (None, [12])
    assert (ingester.report.taken, ingester.report.events) == (2, 2)


def test_long_records_are_several_transactions(
    brokers: Brokers, ingester: Ingester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesters, "MOST_EVENTS", 100)
    take(ingester, *(Record(10 + n, 60) for n in range(5)))
    assert brokers.committed == [12, 14, 15]
    assert ingester.report.events == 300


def test_what_the_log_lost_behind_a_batch_is_counted_from_its_end(
    brokers: Brokers, ingester: Ingester
) -> None:
    brokers.low = 20
    take(ingester, Record(10, 1), Record(11, 1), Record(12, 0, KafkaError._AUTO_OFFSET_RESET))
    assert (brokers.committed, brokers.reading, ingester.report.lost) == ([12], 20, 8)
    # Fetched before: it is not given on twice.
    take(ingester, Record(11, 1))
    assert ingester.report.events == 2


def test_an_offset_of_a_topic_before_this_one_counts_for_nothing_and_is_counted(
    brokers: Brokers, ingester: Ingester
) -> None:
    brokers.low = 2
    cast(Topics, ingester._topics).others = [40]
    places = [TopicPartition(TOPIC, 0, 40), TopicPartition(TOPIC, 1, 41), TopicPartition(TOPIC, 2)]
    # The new topic is longer than what was read of the one before.
    assert [ingester._begin(place).offset for place in places] == [2, 41, 2]
    assert (ingester.report.begun_anew, ingester.report.lost) == (1, 0)


def test_nothing_of_a_topic_that_was_made_anew_is_committed(brokers: Brokers, ingester: Ingester) -> None:
    cast(Topics, ingester._topics).anew = True
    with pytest.raises(NextclickError, match="made anew under the ingester"):
        take(ingester, Record(10, 1))
    assert (brokers.committed, brokers.produced, ingester.report.taken) == ([], [], 0)


def test_a_letter_leaves_large_headers_out(brokers: Brokers, ingester: Ingester) -> None:
    take(ingester, Record(10, "bad", headers=[("trace", b"t" * 70_000)]))
    ((_, headers),) = brokers.produced
    assert "record.trace" not in dict(headers)
    take(ingester, Record(11, "bad", headers=[("trace", b"t")]))
    ((_, headers),) = brokers.produced
    assert dict(headers)["record.trace"] == b"t"
