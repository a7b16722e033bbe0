"""What a worker publishes keeps the contract, and the examples in other people's hands read it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.asyncapi import document
from stream.events import Event, encode_event
from stream.kafka.announcements import ShadowAnnouncement, announce, announce_shadow
from stream.kafka.lists_reader import Received
from stream.kafka.topics import plans
from stream.settings import Settings
from tests.conftest import ROOT, settings_of_its_own, train_small
from tests.harness.announced import on_models
from tests.harness.contract import Contract
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import all_committed, all_lists, some_lists, with_unknown_items, worker

pytestmark = pytest.mark.kafka
CONSUMERS = ROOT / "deploy" / "consumers"
CLIENTS = ["confluent-kafka", "aiokafka", "java", "node"]
DEADLINE_S = 240
POISON = [
    (b"s", b"\xff\xfe"),
    (b"s", b'{"session_id":"s","event_time_ms":-5}'),
    (b"other", b'{"session_id":"s","event_time_ms":5,"item_id":"i1"}'),
    (None, None),
]


def records(settings: Settings, topic: str, partitions: int) -> list[Message]:
    """All records of a topic, partition by partition."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    found: list[Message] = []
    for number in range(partitions):
        place = TopicPartition(topic, number, 0)
        _, high = consumer.get_watermark_offsets(place, timeout=60)
        consumer.assign([place])
        wanted, deadline = len(found) + high, time.monotonic() + DEADLINE_S
        while len(found) < wanted and time.monotonic() < deadline:
            found += consumer.consume(wanted - len(found), timeout=1)
        assert len(found) == wanted
    consumer.close()
    return found


def publish_again(settings: Settings, messages: list[Message]) -> None:
    """The very same records once more, as a worker publishes what it did not see acknowledged."""
    producer = Producer(settings.producer_config())
    for message in messages:
        producer.produce(
            settings.recommendations_topic,
            message.value(),
            message.key(),
            message.partition() or 0,
            headers=message.headers(),
        )
    assert producer.flush(120) == 0


@pytest.fixture(scope="module")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Topics that a worker has filled; it was killed on the way, and its successor runs on."""
    folder = tmp_path_factory.mktemp("served")
    settings = settings_of_its_own(kafka, folder, deterministic=True, wave_size=8, commit_interval_ms=20)
    log = markov_shoppers(sessions=120, items=60, seed=5)
    model = train_small(log, Registry(settings.registry_dir), network="transitions")
    frame = with_unknown_items(log.frame)
    half = len(frame) // 2
    replay_frames(settings, [frame.iloc[:half]])
    producer = Producer(settings.producer_config())
    for key, value in POISON:
        producer.produce(settings.events_topic, value, key)
    assert producer.flush(120) == 0
    with worker(settings, folder) as process:
        process.wait_until(some_lists(half // 2), "some lists")
        process.process.send_signal(signal.SIGKILL)
        process.process.wait(240)
    shown = records(settings, settings.recommendations_topic, settings.partitions)
    publish_again(settings, shown[:: len(shown) // 20])
    replay_frames(settings, [frame.iloc[half:]])
    with worker(settings, folder) as process:
        process.wait_until(all_committed(settings), "all events", timeout_s=DEADLINE_S)
        announce(settings, model.version)
        announce_shadow(settings, ShadowAnnouncement(model.version, 0.5))
        announce_shadow(settings, None)
        yield settings
        assert process.process.poll() is None, process.log()
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([plan.name for plan in plans(settings)]).values():
        future.result(timeout=120)


def test_every_record_that_is_published_keeps_the_contract(served: Settings) -> None:
    contract = Contract(document(served))
    found = {
        served.events_topic: records(served, served.events_topic, served.partitions),
        served.recommendations_topic: records(served, served.recommendations_topic, served.partitions),
        served.dlq_topic: records(served, served.dlq_topic, 1),
        served.models_topic: on_models(served),
    }
    poison = {value for _, value in POISON}
    checked = dict.fromkeys(found, 0)
    for topic, messages in found.items():
        names = contract.of_topic(topic)
        for message in messages:
            if topic == served.events_topic and message.value() in poison:
                continue
            key = message.key() or b""
            name = next(n for n in names if len(names) == 1 or n == key.decode())
            assert contract.problems(name, message) == [], (topic, message.key(), message.value())
            checked[topic] += 1
    assert checked[served.dlq_topic] >= len(POISON)
    assert checked[served.models_topic] == 3
    assert checked[served.recommendations_topic] > checked[served.events_topic] > 300
    headers = [dict(message.headers() or []) for message in found[served.recommendations_topic]]
    assert {h["fallback"] for h in headers if "fallback" in h} == {b"unknown_item", b"empty_session"}
    # A record in the wrong place is told by its headers, its key and its value.
    assert len(contract.problems("champion", found[served.recommendations_topic][0])) >= 3


def commands(folder: Path) -> dict[str, list[str]]:
    """How to start each example."""
    version = re.search(r"^VERSION=(\S+)", (ROOT / "deploy" / "kafka.sh").read_text(), re.MULTILINE)
    assert version
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jars = cache / "nextclick" / f"kafka-{version[1]}"
    return {
        "confluent-kafka": [sys.executable, str(CONSUMERS / "python" / "confluent_kafka_lists.py")],
        "aiokafka": [sys.executable, str(CONSUMERS / "python" / "aiokafka_lists.py")],
        "java": [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{jars}/*",
            str(CONSUMERS / "java" / "Lists.java"),
        ],
        "node": ["node", str(folder / "node" / "lists.mjs")],
    }


@contextmanager
def reading(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An example that runs; its lines go to a file. It ends in peace by SIGTERM."""
    with output.open("wb") as lines, output.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, stdout=lines, stderr=log)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            # A JVM that a signal ends in peace says so with 143.
            assert process.wait(240) in (0, 143 if command[0] == "java" else 0)
        except BaseException:
            print(output.with_suffix(".log").read_text())
            raise
        finally:
            process.kill()
            process.wait()


def printed(output: Path) -> list[dict[str, Any]]:
    """The whole lines that an example has printed."""
    text = output.read_text() if output.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_S} s"
        time.sleep(0.05)


def lines_of(lists: list[Received]) -> dict[str, dict[str, Any]]:
    """By event id the line that an example is to print of a list."""
    return {
        shown.recommendation.event_id: {
            "session_id": shown.recommendation.session_id,
            "event_id": shown.recommendation.event_id,
            "model": shown.headers["model"],
            "fallback": shown.headers.get("fallback"),
            "items": shown.recommendation.items,
        }
        for shown in lists
    }


def place(event_id: str) -> int:
    return int(event_id.split("-")[1])


@pytest.mark.parametrize("client", CLIENTS)
def test_an_example_shows_each_list_once_and_a_session_s_newest_last(
    served: Settings, tmp_path: Path, client: str
) -> None:
    if client == "node":
        if shutil.which("npm") is None:
            pytest.skip("Node and npm are not installed")
        shutil.copytree(CONSUMERS / "node", tmp_path / "node", ignore=shutil.ignore_patterns("node_modules"))
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=tmp_path / "node", check=True, timeout=120, capture_output=True)
    command = [
        *commands(tmp_path)[client],
        served.bootstrap_servers,
        served.recommendations_topic,
        f"{served.group_id}-{client}",
    ]
    before = all_lists(served)
    expected = lines_of(before)
    assert len(before) >= len(expected) + 20, "some lists are there twice"
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    with reading(command, first):
        wait_for(lambda: len(printed(first)) >= len(expected), "all lists")
    shown = printed(first)
    assert {line["event_id"]: line for line in shown} == expected
    assert len(shown) == len(expected), "none is shown twice"
    newest: dict[str, int] = {}
    for line in shown:
        assert place(line["event_id"]) > newest.get(line["session_id"], -1)
        newest[line["session_id"]] = place(line["event_id"])

    # While the example is away: three events, then two of their lists again, then one of a later worker.
    session = f"while-{client}-is-away"
    producer = Producer(served.producer_config())
    for number in range(3):
        event = Event(session, 1_700_003_600_000 + number, f"i{number + 1}")
        producer.produce(served.events_topic, encode_event(event), session.encode())
    assert producer.flush(120) == 0
    new: list[Message] = []

    def three_lists() -> bool:
        topic = records(served, served.recommendations_topic, served.partitions)
        new[:] = [message for message in topic if message.key() == session.encode()]
        return len(new) == 3

    wait_for(three_lists, "the lists of the new session")
    publish_again(served, [new[2], new[0]])
    of_later = {
        "session_id": f"later-{client}",
        "event_id": f"0-{10**9 + CLIENTS.index(client)}",
        "why": [{}],
    }
    later = {**json.loads(new[0].value() or b""), **of_later}
    producer.produce(
        served.recommendations_topic,
        json.dumps(later).encode(),
        later["session_id"].encode(),
        new[0].partition() or 0,
        headers=[*(new[0].headers() or []), ("reranked", b"yes")],
    )
    assert producer.flush(120) == 0
    with reading(command, second):
        wait_for(lambda: len(printed(second)) >= 4, "the new lists")
    shown, truth = printed(second), lines_of(all_lists(served))
    ids = [json.loads(message.value() or b"")["event_id"] for message in new]
    assert [line for line in shown if line["session_id"] == session] == [truth[event_id] for event_id in ids]
    last = {**truth[ids[0]], "session_id": later["session_id"], "event_id": later["event_id"]}
    assert shown[-1] == last, "unknown fields and headers are passed over"
    assert len(shown) == 4, "nothing is shown again that was shown before the restart"
