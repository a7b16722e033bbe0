"""What a test finds on `models`."""

from __future__ import annotations

from confluent_kafka import Consumer, Message, TopicPartition

from stream.kafka.announcements import decode_announcement
from stream.settings import Settings


def on_models(settings: Settings) -> list[Message]:
    """The records of `models`, in order."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    place = TopicPartition(settings.models_topic, 0, 0)
    _, high = consumer.get_watermark_offsets(place, timeout=60)
    consumer.assign([place])
    records = consumer.consume(high, timeout=20) if high else []
    consumer.close()
    assert len(records) == high
    return records


def announced(settings: Settings) -> list[str]:
    """The versions on `models`, oldest first."""
    return [decode_announcement(record.value()).version for record in on_models(settings)]
