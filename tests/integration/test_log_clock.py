import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from model.errors import NextclickError
from stream.events import Event, encode_event
from stream.retraining.schedule import LogClock
from stream.settings import Settings

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC


@pytest.mark.kafka
def test_the_logs_clock_is_the_event_time_that_all_its_partitions_have_reached(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(partitions=3)
    clock = LogClock(settings)
    assert clock.begin_ms() is None
    # Partitions that have just been made may not have their leaders yet.
    deadline = time.monotonic() + 240
    while True:
        try:
            assert clock.now_ms() is None
            break
        except NextclickError:
            assert time.monotonic() < deadline
    producer = Producer(settings.producer_config())

    def produce(partition: int, time_ms: int) -> int | None:
        value = encode_event(Event("s", time_ms, "item"))
        producer.produce(settings.events_topic, value, b"s", partition, timestamp=time_ms)
        assert producer.flush(120) == 0
        return clock.now_ms()

    assert produce(0, MIDNIGHT_MS) == MIDNIGHT_MS
    assert produce(1, MIDNIGHT_MS + 7) == MIDNIGHT_MS
    assert produce(0, MIDNIGHT_MS + 9) == MIDNIGHT_MS + 7
    assert clock.begin_ms() == MIDNIGHT_MS
    # A late event does not move it back; one of a wrong stamp does not move it at all.
    assert produce(1, MIDNIGHT_MS - 50) == MIDNIGHT_MS + 7
    assert produce(2, int(time.time() * 1000) + 30 * 24 * HOUR_MS) == MIDNIGHT_MS + 7
