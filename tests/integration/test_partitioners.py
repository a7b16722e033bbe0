import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, Producer, TopicPartition

from stream.settings import Settings

pytestmark = pytest.mark.kafka

KEYS = [
    *[f"session-{n}".encode() for n in range(500)],
    *(text.encode() for text in ("ключ", "セッション", "🛒", "a", "ab", "abc", "x" * 255)),
]


def partitions_of(settings: Settings, topic: str) -> dict[bytes, int]:
    """Where the keys of a topic lie."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(settings.partitions)])
    found: dict[bytes, int] = {}
    while len(found) < len(KEYS):
        for message in consumer.consume(1000, timeout=5.0):
            found[message.key() or b""] = message.partition() or 0
    consumer.close()
    return found


def test_librdkafka_and_aiokafka_put_the_same_keys_into_the_same_partitions(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(partitions=7)
    producer = Producer(settings.producer_config())
    for key in KEYS:
        producer.produce(settings.events_topic, b"x", key)
    assert producer.flush(120) == 0

    async def send() -> None:
        other = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
        await other.start()
        try:
            for key in KEYS:
                await other.send(settings.recommendations_topic, b"x", key=key)
            await other.flush()
        finally:
            await other.stop()

    asyncio.run(send())
    ours = partitions_of(settings, settings.events_topic)
    assert ours == partitions_of(settings, settings.recommendations_topic)
    assert set(ours.values()) == set(range(7))
