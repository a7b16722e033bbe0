"""What producers owe the worker, each duty broken once."""

import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from model.registry.registry import Registry
from stream.doctor.worker_checks import worker_checks
from stream.events import Event, encode_event
from stream.kafka.partitioner import partition_of
from stream.settings import Settings
from stream.worker.producer_faults import FAULTS, LOG_EVERY_S, ProducerFaults
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, served, stop, worker

START_MS = 1_700_000_000_000
PARTITIONS = 2


def send(settings: Settings, records: list[tuple[Event, bytes | None, int]]) -> None:
    """Events with a key, each to the partition that is given."""
    producer = Producer(settings.producer_config())
    for event, key, partition in records:
        producer.produce(settings.events_topic, encode_event(event), key, partition=partition)
    assert producer.flush(120) == 0


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_every_fault_of_a_producer_is_counted_logged_and_found_by_the_doctor(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=PARTITIONS)
    train_small(shoppers, Registry(settings.registry_dir))
    records: list[tuple[Event, bytes | None, int]] = []
    for number in range(5):
        name = f"s{number}"
        right = partition_of(name, PARTITIONS)
        event = Event(name, START_MS + number, "i1")
        records += [(event, name.encode(), right), (event, name.encode(), 1 - right)]
    # One session without keys, in two halves.
    halved = Event("halved", START_MS, "i1")
    records += [(halved, None, number % PARTITIONS) for number in range(6)]
    records.append((Event("a", START_MS, "i1"), b"b", partition_of("b", PARTITIONS)))
    seconds = Event("a", START_MS // 1_000, "i1")
    records += [(seconds, b"a", partition_of("a", PARTITIONS))] * 2
    send(settings, records)
    expected = {"misplaced": 5 + 3, "no_key": 6, "key_mismatch": 1, "past": 2, "future": 0}
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(len(records)), "all records")
        assert status["producer_faults"] == expected
        assert status["accounting"]["stepped"] == 16
        assert status["accounting"]["dead_lettered"] == 3
        with urllib.request.urlopen(f"{process.address}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
        for fault, events in expected.items():
            assert f'nextclick_producer_faults_total{{reason="{fault}"}} {float(events)}' in metrics
        assert 'nextclick_rejected_events_total{reason="past"} 2.0' in metrics
        doctor = {result.check: result for result in worker_checks(process.address)}["producers"]
        assert doctor.verdict == "FAIL"
        assert "misplaced 8, no_key 6" in doctor.found
        stop(process)
        assert process.log().count("a producer's fault: ") >= 4
        assert "events lie on another partition than murmur2 of their session names" in process.log()


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_running_worker_ends_when_partitions_are_added_as_its_start_would(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=PARTITIONS)
    train_small(shoppers, Registry(settings.registry_dir))
    with worker(settings, tmp_path) as process:
        admin = AdminClient(settings.kafka_config())
        (answer,) = admin.create_partitions([NewPartitions(settings.events_topic, 4)]).values()
        answer.result(timeout=120)
        assert process.process.wait(240) == 1
        assert f"{settings.events_topic} has 4 partitions, expected 2" in process.log()


def test_a_fault_is_logged_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now_s, counted = [0.0], dict.fromkeys(FAULTS, 0)

    def count(fault: str, events: int) -> None:
        counted[fault] += events

    faults = ProducerFaults(PARTITIONS, count, lambda: now_s[0])
    for second in range(int(LOG_EVERY_S) + 1):
        now_s[0] = float(second)
        faults.add_event(0, second, "s", None)
        faults.add_rejected(0, second, "schema")
        faults.review()
    lines = [record.getMessage() for record in caplog.records if "have no key" in record.getMessage()]
    assert counted["no_key"] == 61
    assert [line.split(" events ")[0].rsplit(" ", 1)[1] for line in lines] == ["1", "60"]
    assert lines[1].endswith("the last at partition 0, offset 60")


def test_events_on_the_partition_of_their_session_have_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    faults = ProducerFaults(7, lambda fault, events: pytest.fail(f"{events} {fault}"))
    for number in range(100):
        name = f"session {number}"
        faults.add_event(partition_of(name, 7), number, name, name.encode())
    faults.review()
    assert not caplog.records
