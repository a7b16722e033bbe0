import shutil
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.events import Event, decode_recommendation, encode_event
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_committed, stop, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
START_MS = 1_700_000_000_000


def open_sessions(process: WorkerProcess) -> int:
    status = process.status()
    assert status is not None
    return int(status["sessions"])


def listed_events(settings: Settings) -> int:
    """Distinct event ids among all lists."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "counter", "queued.min.messages": 100_000})
    places = [TopicPartition(settings.recommendations_topic, n, 0) for n in range(settings.partitions)]
    records = sum(consumer.get_watermark_offsets(place, timeout=60)[1] for place in places)
    consumer.assign(places)
    ids: set[str] = set()
    read = 0
    while read < records:
        for message in consumer.consume(10_000, timeout=1.0):
            ids.add(decode_recommendation(message.value() or b"").event_id)
            read += 1
    consumer.close()
    return len(ids)


def test_many_open_sessions_are_served_kept_and_recovered_from_the_log(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, full: bool
) -> None:
    sessions = 1_000_000 if full else 150_000
    settings = make_settings(partitions=4)
    train_small(shoppers, Registry(settings.registry_dir), network="pop")
    producer = Producer({**settings.producer_config(), "linger.ms": 20})
    for number in range(sessions):
        event = Event(f"s{number}", START_MS + number // 1_000, f"i{number % 120}")
        while True:
            try:
                producer.produce(settings.events_topic, encode_event(event), event.session_id.encode())
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "all sessions", timeout_s=600)
        assert open_sessions(process) == sessions
        assert stop(process)["accounting"]["stepped"] == sessions
    assert listed_events(settings) == sessions
    shutil.rmtree(settings.state_dir)
    with worker(settings, tmp_path) as process:
        assert open_sessions(process) == sessions
        assert stop(process)["accounting"]["read"] == 0
