"""A topic that is deleted and made anew, while its worker runs and while it does not."""

import threading
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.doctor.broker_checks import BrokerChecks
from stream.doctor.check_result import CheckResult
from stream.doctor.machine_checks import local_checks
from stream.doctor.worker_checks import worker_checks
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_reader import records
from stream.event_log.archiver import Archiver
from stream.events import Event, encode_event
from stream.kafka.announcements import announce
from stream.kafka.topic_id import topic_id
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_committed, all_lists, run_to_the_end, stop, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
START_MS = 1_700_000_000_000
BEFORE, AFTER = 20, 8


def send(settings: Settings, name: str, events: int) -> None:
    """Events of one session."""
    producer = Producer(settings.producer_config())
    for number in range(events):
        event = Event(name, START_MS + number, f"i{number}")
        producer.produce(settings.events_topic, encode_event(event), name.encode())
    assert producer.flush(120) == 0


def make_anew(settings: Settings, topic: str = "") -> None:
    """Delete a topic, of events unless named, and make it again by the same name."""
    admin, topic = AdminClient(settings.kafka_config()), topic or settings.events_topic
    before = topic_id(settings, topic)
    (deleted,) = admin.delete_topics([topic]).values()
    deleted.result(timeout=120)
    while True:
        try:
            ensure_topics(settings)
            if topic_id(settings, topic) != before:
                return
        except (KafkaException, NextclickError):
            continue


def is_noticed(process: WorkerProcess, topic: str, times: int, _: dict[str, Any]) -> bool:
    return process.log().count(f"the topic {topic} was made anew") >= times


def is_served(version: str, status: dict[str, Any]) -> bool:
    return bool(status["model"] == version)


def failing(settings: Settings) -> list[CheckResult]:
    """What the doctor finds wrong with the topic's identity."""
    brokers = BrokerChecks(settings)
    found = [*brokers.run(), *local_checks(settings, None, brokers.topic_id)]
    return [row for row in found if row.verdict == "FAIL" and row.check in ("topic id", "stores")]


def scraped(address: str) -> str:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def test_a_topic_made_anew_between_two_runs_is_read_from_its_beginning_and_the_old_state_is_kept_aside(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    send(settings, "before", BEFORE)
    run_to_the_end(settings, tmp_path)
    assert failing(settings) == []

    make_anew(settings)
    send(settings, "after", AFTER)
    assert "stores" in [row.check for row in failing(settings)]
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the rest")
        status = process.status()
        assert status is not None
        assert status["accounting"]["read"] == status["accounting"]["stepped"] == AFTER
        assert status["sessions"] == 1
        assert status["begun_anew"] == [0]
        assert status["topic_id"] == topic_id(settings, settings.events_topic)
        assert "nextclick_partitions_begun_anew_total 1.0" in scraped(process.address)
        warned = [row for row in worker_checks(process.address) if row.check == "topic id"]
        assert [row.verdict for row in warned] == ["WARN"]
        stop(process)
        assert "is another topic than the one of its store or committed offset" in process.log()
    lists = [received.recommendation.session_id for received in all_lists(settings)]
    assert lists.count("after") == AFTER
    assert failing(settings) == []
    assert len(list(settings.state_dir.glob("*.other-topic-*"))) == 1


def test_a_running_worker_ends_when_its_topic_is_made_anew_and_its_restart_reads_all_of_it(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    send(settings, "before", BEFORE)
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the first events")
        make_anew(settings)
        send(settings, "after", AFTER)
        assert process.process.wait(120) == 1
        assert "Start the worker again" in process.log()
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["stepped"] == AFTER
    assert status["begun_anew"] == [0]
    lists = {received.recommendation.session_id for received in all_lists(settings)}
    assert lists == {"before", "after"}


def test_a_worker_hears_what_is_announced_on_a_models_topic_that_was_made_anew_twice(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    """By its own reading of the topic: Faust's client would hear of it within five minutes, if at all."""
    settings = make_settings(partitions=1)
    registry = Registry(settings.registry_dir)
    a, b, c = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2, 3))
    with worker(settings, tmp_path) as process:
        process.wait_until(lambda status: status["model"] == c, "the champion of the start")
        for time, version in enumerate((a, b), 1):
            serves = partial(is_served, version)
            make_anew(settings, settings.models_topic)
            # Before the worker has seen the new topic, most likely: it reads it from its beginning.
            announce(settings, version)
            process.wait_until(serves, "what the new topic has")
            # On a quick machine Faust's client hears it first; the next question finds the other id.
            process.wait_until(partial(is_noticed, process, settings.models_topic, time), "the other id")
            assert process.log().count(f"the topic {settings.models_topic} was made anew") == time
            announce(settings, c)
            process.wait_until(lambda status: status["model"] == c, "what is announced there afterwards")
        assert stop(process)["refused_versions"] == []


def test_an_archiver_ends_when_its_topic_is_made_anew_and_puts_nothing_of_it_into_the_archive(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(partitions=1), tmp_path / "archive"
    send(settings, "before", BEFORE)
    # Parts as small as can be: the first ones get their names while the archiver runs.
    archiver = Archiver(settings, ArchiveFolder(folder), rotate_events=1, rotate_s=0.1)
    stopping, failures = threading.Event(), list[NextclickError]()

    def run() -> None:
        try:
            archiver.run(stopping)
        except NextclickError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while archiver.report.events < BEFORE and thread.is_alive():
            thread.join(0.05)
        make_anew(settings)
        send(settings, "after", AFTER)
        thread.join(120)
    finally:
        stopping.set()
        thread.join()
    assert len(failures) == 1
    archived = [record for part in ArchiveFolder(folder).parts(0) for record in records(part)]
    assert [record.key for record in archived] == [b"before"] * BEFORE
    with pytest.raises(NextclickError, match="is the archive of"):
        Archiver(settings, ArchiveFolder(folder), rotate_events=1, rotate_s=0.1).run(stopping)
