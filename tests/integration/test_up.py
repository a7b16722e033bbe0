"""`nextclick up`: from a topic of any shape to a worker that serves it, and on again with what is written."""

import os
import re
import signal
from pathlib import Path
from unittest import mock

import pytest
from confluent_kafka import Producer

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from stream.log_mapping import read_mapping
from stream.settings import Settings
from tests.harness.commands import Ended, run_main
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, some_lists
from tests.integration.test_first_model import send_as_a_shop

pytestmark = pytest.mark.kafka

# What `up` chooses itself; the rest are the folders and topics of the test.
CHOSEN = ("BOOTSTRAP_SERVERS", "EVENTS_TOPIC", "PARTITIONS", "GROUP_ID", "WEB_PORT")
TIMEOUT_S = 600.0


def environment_of(settings: Settings, config: Path) -> dict[str, str]:
    told = {name: value for name, value in settings.environment().items() if name[10:] not in CHOSEN}
    return {**os.environ, **told, "NEXTCLICK_CONFIG": str(config)}


def up(settings: Settings, config: Path, *arguments: str | Path) -> Ended:
    """`nextclick up` without its worker, in this process."""
    brokers = ("--bootstrap-servers", settings.bootstrap_servers)
    with mock.patch.dict(os.environ, environment_of(settings, config), clear=True):
        return run_main("up", *arguments, *brokers, "--no-worker", "--web-port", str(settings.web_port))


def test_a_shops_topic_is_served_by_one_command_and_again(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings, config = make_settings(), tmp_path / "up.toml"
    send_as_a_shop(settings, shoppers)
    topic = settings.events_topic
    first = up(settings, config, "--topic", topic)
    assert first.code == 0, first.errors
    mapping = read_mapping(tmp_path / f"{topic}.toml")
    # A visitor's silence ends a session.
    assert (mapping.columns["user"], mapping.sessions) == ("visitor", "gap")
    assert mapping.columns["item"] == "product.sku"
    assert f'events_topic = "{topic}" # said' in config.read_text()
    assert f"partitions = {settings.partitions} " in config.read_text()
    version = Registry(settings.registry_dir).champion()
    assert version is not None
    assert f"{len(shoppers.frame):,} events" in first.errors
    # Again, with its worker in the foreground: nothing is guessed or trained anew.
    running = WorkerProcess(settings, tmp_path / "up.log", ["up"], environment_of(settings, config))
    try:
        running.wait_until(some_lists(100), "lists of the topic", TIMEOUT_S)
        assert f"going on with what {config} says" in running.log()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(TIMEOUT_S) == 0, running.log()
    finally:
        running.kill()
    assert [row["version"] for row in Registry(settings.registry_dir).versions()] == [version]
    other = up(settings, config, "--topic", "other")
    assert other.code == 2
    assert f"of the topic {topic}, not of other" in other.errors


def test_a_topic_that_cannot_be_served_is_refused_with_what_to_do(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, config = make_settings(), tmp_path / "up.toml"
    topic = settings.events_topic
    missing = up(settings, config, "--topic", "no-such-topic")
    assert (missing.code, "there is no topic no-such-topic" in missing.errors) == (2, True)
    empty = up(settings, config, "--topic", topic)
    assert (empty.code, f"the topic {topic} is empty" in empty.errors) == (2, True)
    producer = Producer(settings.producer_config())
    for n in range(6):
        value = b'{"session_id":"s%d","event_time_ms":1700000000000,"item_id":"i%d"}' % (n % 2, n)
        producer.produce(topic, value, b"s%d" % (n % 2))
    assert producer.flush(120) == 0
    assert not config.exists()
    few = up(settings, config, "--topic", topic)
    assert few.code == 2
    assert "cannot be trained from the 6 records" in " ".join(few.errors.split())
    # Its own events need no mapping, and what was chosen is kept for the next time.
    assert "nextclick's own events" in few.out
    assert "events_mapping" not in config.read_text()


def test_a_file_is_replayed_once(make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path) -> None:
    settings, config, log = make_settings(), tmp_path / "up.toml", tmp_path / "klicks.csv"
    names = {"session_id": "Sitzung", "item_id": "Artikelnummer", "event_time_ms": "Zeitpunkt"}
    shoppers.frame.drop(columns="kind").rename(columns=names).to_csv(log, sep=";", index=False)
    arguments = (log, "--topic", settings.events_topic)
    with mock.patch.dict(os.environ, {"NEXTCLICK_PARTITIONS": str(settings.partitions)}):
        first = up(settings, config, *arguments)
        assert first.code == 0, first.errors
        again = up(settings, config, *arguments)
    assert again.code == 0, again.errors
    # The newest tenth of the events: those of the earlier ones have the same time as the first of these.
    sent = -(-len(shoppers.frame) // 10)
    told = re.search(r"has ([\d,]+) records: nothing is replayed", again.errors)
    assert told is not None, again.errors
    assert sent <= int(told[1].replace(",", "")) <= sent + 5
