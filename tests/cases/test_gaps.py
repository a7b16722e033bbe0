"""Holes in the log: retention or deletion ahead of a worker, and the markers of transactions."""

import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.doctor.worker_checks import worker_checks
from stream.events import Event, encode_event
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_committed, stop, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
START_MS = 1_700_000_000_000


def send(settings: Settings, first: int, end: int) -> None:
    """The events with numbers [first, end), each of a session of its own."""
    producer = Producer(settings.producer_config())
    produce(producer, settings, first, end)
    assert producer.flush(120) == 0


def produce(producer: Producer, settings: Settings, first: int, end: int) -> None:
    for number in range(first, end):
        event = Event(f"s{number}", START_MS + number, "i1")
        producer.produce(settings.events_topic, encode_event(event), event.session_id.encode())


def delete_before(settings: Settings, offset: int) -> None:
    admin = AdminClient(settings.kafka_config())
    place = TopicPartition(settings.events_topic, 0, offset)
    (answer,) = admin.delete_records([place]).values()
    answer.result(timeout=120)


def bounds(settings: Settings) -> tuple[int, int]:
    """The log's first offset and its end, and not the group's."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "look"})
    try:
        found: tuple[int, int] = consumer.get_watermark_offsets(
            TopicPartition(settings.events_topic, 0), timeout=60
        )
        return found
    finally:
        consumer.close()


@contextmanager
def standing_still(process: WorkerProcess) -> Iterator[None]:
    """The worker sleeps; what it had asked the brokers for is answered before the context begins."""
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    try:
        yield
    finally:
        process.process.send_signal(signal.SIGCONT)


def no_lag(settings: Settings) -> Any:
    committed = all_committed(settings)
    return lambda s: s["lag"] == 0 and not s["accounting"]["in_flight"] and committed(s)


def scrape(process: WorkerProcess) -> str:
    with urllib.request.urlopen(f"{process.address}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def stop_after_a_look(process: WorkerProcess, *, lost: int) -> dict[str, Any]:
    """Look at all places that say what was lost, then end the worker; returns its accounting."""
    assert f'nextclick_lost_events_total{{partition="0"}} {float(lost)}' in scrape(process)
    doctor = {result.check: result for result in worker_checks(process.address)}
    assert doctor["worker"].verdict == "PASS"
    assert doctor["lost events"].verdict == ("FAIL" if lost else "PASS")
    assert not lost or f"{lost:,}" in doctor["lost events"].found
    accounting: dict[str, Any] = stop(process)["accounting"]
    assert accounting["lost"] == accounting["partitions"]["0"]["lost"] == lost
    return accounting


def test_events_that_retention_removes_ahead_of_a_running_worker_are_counted_as_lost(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    send(settings, 0, 20)
    with worker(settings, tmp_path) as process:
        process.wait_until(no_lag(settings), "the first events")
        with standing_still(process):
            send(settings, 20, 1_600)
            delete_before(settings, 1_500)
        process.wait_until(lambda s: s["accounting"]["read"] == 120, "the rest")
        process.wait_until(no_lag(settings), "no lag")
        accounting = stop_after_a_look(process, lost=1_480)
        assert accounting["stepped"] == 120
    assert "partition 0: events 20 to 1500 are no longer in the log" in process.log()


@pytest.mark.parametrize("lose_the_disk", [False, True])
def test_events_that_are_removed_while_no_worker_runs_are_counted_at_its_start(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, lose_the_disk: bool
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    send(settings, 0, 20)
    with worker(settings, tmp_path) as process:
        process.wait_until(no_lag(settings), "the first events")
        assert stop_after_a_look(process, lost=0)["read"] == 20
    send(settings, 20, 70)
    delete_before(settings, 70)
    if lose_the_disk:
        settings.state_dir.rename(tmp_path / "lost")
    with worker(settings, tmp_path) as process:
        # Nothing is left to read, and the group arrives at the end all the same.
        process.wait_until(no_lag(settings), "no lag")
        assert stop_after_a_look(process, lost=50)["read"] == 0
    assert "partition 0: events 20 to 70 are no longer in the log" in process.log()


def test_the_markers_of_transactions_are_neither_lag_nor_lost(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    config = {**settings.producer_config(), "transactional.id": settings.group_id}
    producer = Producer({name: value for name, value in config.items() if name != "message.timeout.ms"})
    producer.init_transactions(60)
    with worker(settings, tmp_path) as process:
        for number in range(10):
            producer.begin_transaction()
            produce(producer, settings, 3 * number, 3 * number + 3)
            producer.flush(30)
            if number % 3 == 2:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
        process.wait_until(lambda s: s["accounting"]["read"] == 21, "the events of committed transactions")
        process.wait_until(no_lag(settings), "no lag, of the worker and of the group")
        assert bounds(settings) == (0, 40), "30 records and 10 markers"
        assert "nextclick_lag_records 0.0" in scrape(process)
        assert 'nextclick_partition_lag_records{partition="0"} 0.0' in scrape(process)
        accounting = stop_after_a_look(process, lost=0)
    assert accounting["stepped"] == 21
    # A store whose offset stands behind a marker opens again.
    with worker(settings, tmp_path) as process:
        process.wait_until(no_lag(settings), "no lag")
        assert stop_after_a_look(process, lost=0)["read"] == 0
