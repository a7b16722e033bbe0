"""A worker that ends between the write of a wave and its commit, with no further events."""

import signal
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.events import Event, encode_event
from stream.failpoints import VARIABLE
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_committed, all_lists, by_event, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
EVENTS = 10


def committed_offset(settings: Settings) -> int:
    consumer = Consumer({**settings.kafka_config(), "group.id": settings.group_id})
    try:
        (place,) = consumer.committed([TopicPartition(settings.events_topic, 0)], timeout=60)
        return int(place.offset)
    finally:
        consumer.close()


def test_a_store_that_is_ahead_of_the_group_is_committed_at_the_restart_without_a_further_event(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No commit is due before the kill, but that of the start.
    settings = make_settings(partitions=1, wave_size=EVENTS, commit_interval_ms=60_000)
    train_small(shoppers, Registry(settings.registry_dir))
    producer = Producer(settings.producer_config())
    for number in range(EVENTS):
        # One session: ten waves, of which the last is written when the worker is killed.
        event = Event("s", 1_700_000_000_000 + number, f"i{number}")
        producer.produce(settings.events_topic, encode_event(event), b"s")
    assert producer.flush(120) == 0
    monkeypatch.setenv(VARIABLE, f"9-written:{EVENTS}")
    process = WorkerProcess(settings, tmp_path / "killed.log")
    assert process.process.wait(240) == -signal.SIGKILL, process.log()[-2000:]
    monkeypatch.delenv(VARIABLE)
    assert committed_offset(settings) < EVENTS, "the kill came after the commit"

    with worker(settings.model_copy(update={"commit_interval_ms": 200.0}), tmp_path) as restarted:
        restarted.wait_until(all_committed(settings), "the commit of what is written")
        assert committed_offset(settings) == EVENTS
        status = restarted.status()
        assert status is not None
        assert status["accounting"]["read"] == 0, "a written event was read again"
        assert restarted.stop() == 0
    assert len(by_event(all_lists(settings))) == EVENTS
