from collections.abc import Callable
from typing import Any, ClassVar, cast

import pandas as pd
import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from model.errors import NextclickError
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from replay.sending.producer import EventProducer, LagLimit
from replay.sending.replay import replay_frames
from stream.events import Event, decode_event
from stream.settings import Settings

SETTINGS = Settings()


class Queue:
    """Stands for librdkafka's producer: `full` times its queue is full, deliveries wait for a poll."""

    def __init__(self, full: int = 0, answers: tuple[KafkaError | None, ...] = ()) -> None:
        self.full = full
        self.answers = list(answers)
        self.waiting: list[Callable[[KafkaError | None, None], None]] = []
        self.values: list[bytes] = []
        self.purged = False

    def __len__(self) -> int:
        return len(self.waiting)

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        partition: int,
        callback: Callable[..., None],
        on_delivery: None,
        timestamp: int,
    ) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.values.append(value)
        self.waiting.append(callback)

    def poll(self, timeout: float) -> int:
        answered = len(self.waiting)
        for report in self.waiting:
            report(self.answers.pop(0) if self.answers else None, None)
        self.waiting.clear()
        return answered

    def flush(self, timeout: float) -> int:
        self.poll(0)
        return 0

    def purge(self) -> None:
        self.purged = True
        self.answers = [KafkaError(KafkaError._PURGE_QUEUE) for _ in self.waiting]


def event(number: int) -> Event:
    return Event(f"s{number}", 1_000 + number, f"i{number}")


def producer_of(queue: Any) -> EventProducer:
    return EventProducer(SETTINGS, client=cast("Producer", queue))


def test_a_full_queue_is_polled_and_the_event_sent_once() -> None:
    queue = Queue(full=3)
    producer = producer_of(queue)
    for number in range(4):
        producer.send(event(number))
    producer.flush()
    assert [decode_event(value).session_id for value in queue.values] == ["s0", "s1", "s2", "s3"]
    assert producer.sent == producer.acknowledged == 4


def test_a_refused_delivery_stops_the_replay_and_says_how_many_are_sure() -> None:
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    queue = Queue(answers=(None, None, refused))
    producer = producer_of(queue)
    for number in range(3):
        producer.send(event(number))
    with pytest.raises(NextclickError) as caught:
        producer.poll()
    assert caught.value.meaning == "2 of 3 are sure."
    assert SETTINGS.events_topic in caught.value.what
    assert queue.purged


def test_events_behind_a_refused_one_are_given_up_and_not_counted_as_sure() -> None:
    class Late(Queue):
        def poll(self, timeout: float) -> int:
            if not self.purged:
                self.waiting, later = self.waiting[:1], self.waiting[1:]
                answered = super().poll(timeout)
                self.waiting = later
                return answered
            return super().poll(timeout)

    producer = producer_of(Late(answers=(KafkaError(KafkaError._MSG_TIMED_OUT),)))
    for number in range(3):
        producer.send(event(number))
    with pytest.raises(NextclickError) as caught:
        producer.flush()
    assert caught.value.meaning == "0 of 3 are sure."


def test_an_event_that_librdkafka_does_not_take_is_an_error_in_three_parts() -> None:
    class Refusing(Queue):
        def produce(self, *arguments: object, **named: object) -> None:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    with pytest.raises(NextclickError) as caught:
        producer_of(Refusing()).send(event(1))
    assert caught.value.meaning == "0 of 0 are sure."


def test_brokers_that_stay_silent_are_an_error_in_three_parts() -> None:
    class Silent(Queue):
        def poll(self, timeout: float) -> int:
            wall_s.append(wall_s[-1] + 50)
            return 0

    wall_s = [0.0]
    producer = EventProducer(SETTINGS, client=cast("Producer", Silent()), now_s=lambda: wall_s[-1])
    producer.send(event(1))
    with pytest.raises(NextclickError, match="none was acknowledged for 120 s"):
        producer.flush()


def test_librdkafka_itself_reports_what_was_refused() -> None:
    queue = Producer({"bootstrap.servers": "127.0.0.1:9", "delivery.report.only.error": True, "log_level": 0})
    producer = producer_of(queue)
    producer.send(event(1))
    queue.purge()
    with pytest.raises(NextclickError, match="was not delivered") as caught:
        producer.flush()
    assert caught.value.meaning == "0 of 1 are sure."


class Group:
    """Stands for a consumer of the worker's group: what it has committed, and the topic's ends."""

    def __init__(self, committed: dict[int, list[int]], ends: dict[int, tuple[int, int]]) -> None:
        self.offsets = committed
        self.ends = ends

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        answers = []
        for asked in partitions:
            offsets = self.offsets[asked.partition]
            offset = offsets.pop(0) if len(offsets) > 1 else offsets[0]
            answers.append(TopicPartition(asked.topic, asked.partition, offset))
        return answers

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return self.ends[partition.partition]


def lag_limit(group: Any, limit: int = 0) -> LagLimit:
    settings = Settings(partitions=2)
    return LagLimit(settings, limit, check_every=1, client=cast("Consumer", group))


def test_the_lag_is_what_is_kept_and_not_committed() -> None:
    # Nothing committed yet, and the oldest 10 are gone: 30 lie before the group there.
    group = Group({0: [-1001], 1: [95]}, {0: (10, 40), 1: (0, 100)})
    assert lag_limit(group).lag() == 30 + 5


def test_a_replay_is_held_until_the_group_has_caught_up() -> None:
    group = Group({0: [10, 50, 90], 1: [0]}, {0: (0, 100), 1: (0, 0)})
    queue = Queue()
    producer = producer_of(queue)
    producer.send(event(1))
    lag_limit(group, 20).wait_for_group(producer)
    assert group.offsets[0] == [90]
    assert producer.acknowledged == 1


def test_a_busy_group_is_asked_again_and_one_that_refuses_is_an_error_in_three_parts() -> None:
    class Answering(Group):
        codes: ClassVar = [
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.NOT_COORDINATOR,
            KafkaError._TIMED_OUT,
        ]

        def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
            raise KafkaException(KafkaError(self.codes.pop()))

    with pytest.raises(NextclickError, match="lag of group") as caught:
        lag_limit(Answering({}, {})).lag()
    assert Answering.codes == []
    assert "stream/kafka/acls.toml" in caught.value.remedy


def test_every_event_lies_in_its_sessions_partition_as_java_places_it_at_its_event_time() -> None:
    broker = EmbeddedBroker()
    settings = Settings(bootstrap_servers=broker.address, partitions=BROKER_PARTITIONS)
    broker.make_topics(settings)
    sessions = [f"session-{n}" for n in range(150)] + [
        "ключ",
        "セッション",
        "🛒",
        "a",
        "ab",
        "abc",
        "x" * 255,
    ]
    frame = pd.DataFrame(
        {
            "session_id": sessions * 2,
            "item_id": [f"i{n}" for n in range(2 * len(sessions))],
            "event_time_ms": [1_400_000_000_000 + n for n in range(2 * len(sessions))],
            "kind": "view",
            "price": 1.5,
            "title": [None, "a title"] * len(sessions),
        }
    )
    report = replay_frames(settings, [frame[:100], frame[100:]])
    assert report.sent == report.acknowledged == len(frame)
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(settings.events_topic, n, 0) for n in range(BROKER_PARTITIONS)])
    events: list[Event] = []
    while len(events) < len(frame):
        for message in consumer.consume(1000, timeout=0.5):
            key = message.key() or b""
            found = decode_event(message.value(), key)
            assert message.partition() == (murmur2(key) & 0x7FFFFFFF) % BROKER_PARTITIONS
            assert message.timestamp()[1] == found.event_time_ms
            events.append(found)
    consumer.close()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    expected = sorted((Event(**row) for row in rows), key=lambda e: e.event_time_ms)
    assert sorted(events, key=lambda e: e.event_time_ms) == expected
    for session in sessions:
        times = [e.event_time_ms for e in events if e.session_id == session]
        assert len(times) == 2
        assert times == sorted(times)
