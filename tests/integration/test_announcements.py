from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from stream.kafka.announcements import (
    KEY,
    SHADOW_KEY,
    ShadowAnnouncement,
    announce,
    announce_shadow,
    decode_announcement,
    decode_shadow,
    encode_announcement,
    kept_values,
)
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


@pytest.mark.kafka
def test_only_the_newest_shadow_of_a_topic_that_is_not_compacted_counts(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    assert kept_values(settings) == ({}, [0])
    for version in ("a", "b", "c"):
        announce_shadow(settings, ShadowAnnouncement(version, 0.5))
    announce(settings, "d")
    values, ends = kept_values(settings)
    newest = decode_shadow(values[SHADOW_KEY])
    assert newest is not None
    assert (newest.version, ends) == ("c", [4])
    announce_shadow(settings, None)
    assert kept_values(settings) == ({KEY: encode_announcement("d")}, [5])
