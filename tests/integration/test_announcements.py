from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from stream.kafka.announcements import KEY, announce, decode_announcement
from stream.settings import Settings


@pytest.mark.kafka
def test_an_announcement_is_in_the_topic_when_it_is_made(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    announce(settings, "a")
    announce(settings, "b")
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(settings.models_topic, 0, 0)])
    records = consumer.consume(2, timeout=60)
    consumer.close()
    assert [(r.key(), decode_announcement(r.value()).version) for r in records] == [(KEY, "a"), (KEY, "b")]
