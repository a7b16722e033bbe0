"""Topics of one's own mapped into `events`: each record once, whenever the ingester is killed."""

import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from model.errors import NextclickError
from stream.events import Event, decode_event
from stream.failpoints import INGEST_POINTS, VARIABLE
from stream.ingest.group_progress import group_of
from stream.ingest.ingest_metrics import IngestMetrics
from stream.ingest.ingester import Ingester
from stream.ingest.listed_events import ListedEvents
from stream.kafka.partitioner import partition_of
from stream.kafka.topic_id import id_in, metadata_of, topic_id
from stream.kafka.topics import ensure_topics
from stream.log_mapping import LogMapping
from stream.settings import Settings
from tests.harness.fork_server import ForkedProcess, popen
from tests.harness.serving import MakeSettings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

AT_MS = 1_700_000_000_000
VIEWS = LogMapping(
    {"session": "visit", "item": "seen[].sku", "time": "seen[].at", "user": "@key", "kind": "what"},
    {"look": "view", "scroll": "left out"},
)
ORDERS = LogMapping({"session": "visit", "item": "sku", "time": "at"}, default_kind="purchase")


def topics_of_its_own(settings: Settings) -> dict[str, LogMapping]:
    """Views and orders, with other numbers of partitions than `events`."""
    mapped = {f"{settings.events_topic}-views": VIEWS, f"{settings.events_topic}-orders": ORDERS}
    admin = AdminClient(settings.kafka_config())
    for made in admin.create_topics([NewTopic(name, 3, 1) for name in mapped]).values():
        made.result(timeout=120)
    return mapped


def send(settings: Settings, records: int) -> tuple[dict[str, list[Event]], Counter[str]]:
    """Send views and orders, keyed by user → the events of each session in order, and what is none."""
    producer = Producer(settings.producer_config())
    chance = random.Random(11)
    sessions: dict[str, list[Event]] = defaultdict(list)
    others: Counter[str] = Counter()
    for number in range(records):
        user = f"u{number % 37}"
        session, at = f"{user}-s", AT_MS + number * 1_000
        seen = [
            {"sku": chance.randrange(50), "at": at + place} for place in range(chance.choice([1, 1, 2, 3]))
        ]
        record: dict[str, Any] = {"visit": session, "what": "look", "seen": seen}
        value = json.dumps(record).encode()
        if number % 13 == 3:
            value = json.dumps({**record, "what": "scroll"}).encode()
            others["other_kind"] += 1
        elif number % 13 == 4:
            value = json.dumps({**record, "seen": []}).encode()
            others["no_item"] += 1
        elif number % 13 == 5:
            value = b"{"
            others["not_json"] += 1
        elif number % 13 == 6:
            # One element that cannot be read: none of the record's is an event.
            value = json.dumps({**record, "seen": [*seen, {"sku": 1, "at": "soon"}]}).encode()
            others["schema"] += 1
        else:
            sessions[session] += [Event(session, one["at"], str(one["sku"]), "view", user) for one in seen]
        producer.produce(f"{settings.events_topic}-views", value, user.encode())
        if number % 10 == 0:
            order = {"visit": f"o{number}", "sku": f"i{number}", "at": at}
            sessions[f"o{number}"].append(Event(f"o{number}", at, f"i{number}", "purchase"))
            producer.produce(f"{settings.events_topic}-orders", json.dumps(order).encode())
        producer.poll(0)
    assert producer.flush(60) == 0
    return sessions, others


def committed(settings: Settings, topic: str, partitions: int) -> list[Message]:
    """Every record of a topic that counts: of no transaction that was aborted."""
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": "r",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[Message] = []
    ended = 0
    while ended < partitions:
        for message in consumer.consume(1_000, timeout=1.0):
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended += 1
    consumer.close()
    return found


def assert_each_once(settings: Settings, sessions: dict[str, list[Event]], others: Counter[str]) -> None:
    found: dict[str, list[Event]] = defaultdict(list)
    for message in committed(settings, settings.events_topic, settings.partitions):
        event = decode_event(message.value(), message.key())
        assert message.partition() == partition_of(event.session_id, settings.partitions)
        assert message.timestamp()[1] == event.event_time_ms
        found[event.session_id].append(event)
    assert found == sessions
    letters = committed(settings, settings.dlq_topic, 1)
    reasons = Counter(dict(letter.headers() or [])["reason"] for letter in letters)
    assert reasons == {name.encode(): others[name] for name in ("not_json", "schema")}


def start(settings: Settings, folder: Path, fault: str = "", *more: str) -> ForkedProcess:
    arguments = [sys.executable, "-m", "nextclick", "ingest", *more]
    for name, mapping in (("views", VIEWS), ("orders", ORDERS)):
        file = folder / f"{name}.toml"
        file.write_text(mapping.as_toml())
        arguments += ["--from", f"{settings.events_topic}-{name}={file}"]
    environment = {**os.environ, **settings.environment(), **({VARIABLE: fault} if fault else {})}
    log = (folder / "ingest.log").open("ab")
    with log:
        return popen(arguments, env=environment, stdout=log, stderr=log)


def test_a_kill_at_each_point_loses_nothing_and_doubles_nothing(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    topics_of_its_own(settings)
    sessions, others = send(settings, 9_000)
    for point in INGEST_POINTS:
        process = start(settings, tmp_path, f"{point}:2")
        assert process.wait(timeout=240) == -signal.SIGKILL, (tmp_path / "ingest.log").read_text()[-2000:]
    process = start(settings, tmp_path, "", "--until-end")
    assert process.wait(timeout=240) == 0, (tmp_path / "ingest.log").read_text()[-2000:]
    assert_each_once(settings, sessions, others)


def test_each_of_a_group_ends_when_all_of_them_have_ingested_everything(make_settings: MakeSettings) -> None:
    settings = make_settings()
    topic = f"{settings.events_topic}-orders"
    admin = AdminClient(settings.kafka_config())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=30)
    ensure_topics(settings)
    # In transactions, so that the log's last offset holds no record.
    producer = Producer({**settings.kafka_config(), "transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    for number in range(300):
        order = {"visit": f"o{number}", "sku": f"i{number}", "at": AT_MS}
        producer.produce(topic, json.dumps(order).encode())
    producer.commit_transaction(60)
    # One partition: two of the three get none of it.
    names = [settings.model_copy(update={"worker_id": f"{settings.worker_id}-{n}"}) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ingesters = [Ingester(one, {topic: ListedEvents(ORDERS)}) for one in names]
        reports = list(pool.map(lambda one: one.run(Flag(), until_end=True), ingesters))
    assert sorted(report.taken for report in reports) == [0, 0, 300]
    assert len(committed(settings, settings.events_topic, settings.partitions)) == 300


def test_a_topic_that_is_not_there_is_named(make_settings: MakeSettings) -> None:
    settings = make_settings()
    with pytest.raises(NextclickError, match=r"the topic of-nobody cannot be ingested: .*nknown") as caught:
        Ingester(settings, {"of-nobody": ListedEvents(ORDERS)}).run(Flag())
    assert "nextclick acls --role ingest" in caught.value.remedy


def test_two_share_the_topics_and_their_account_is_whole(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings()
    mapped = {name: ListedEvents(mapping) for name, mapping in topics_of_its_own(settings).items()}
    sessions, others = send(settings, 1_500)
    other = settings.model_copy(update={"worker_id": f"{settings.worker_id}-2"})
    other.model_fields_set.add("worker_id")
    process = start(other, tmp_path)
    log = tmp_path / "ingest.log"
    deadline_s = time.monotonic() + 240
    while "assigned" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline_s, log.read_text()[-2000:]
        time.sleep(0.1)
    report = Ingester(settings, mapped).run(Flag(), until_end=True)
    assert report.difference == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 0, log.read_text()[-2000:]
    assert_each_once(settings, sessions, others)
    series = {metric.name: metric for metric in IngestMetrics(report).collect()}
    assert series["nextclick_ingest_records"].samples[0].value == report.taken
    assert series["nextclick_ingest_difference_records"].samples[0].value == 0
    assert report.committed or not report.taken
    taken = {one.labels["topic"]: one.value for one in series["nextclick_ingest_source_records"].samples}
    assert taken.keys() == mapped.keys() and sum(taken.values()) == report.taken


def test_a_source_topic_made_anew_and_longer_is_read_from_its_beginning(make_settings: MakeSettings) -> None:
    settings = make_settings(partitions=1)
    topic = f"{settings.events_topic}-orders"
    admin = AdminClient(settings.kafka_config())
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=120)
    ensure_topics(settings)
    producer = Producer(settings.producer_config())
    for number in range(50):
        producer.produce(topic, json.dumps({"visit": f"o{number}", "sku": "i", "at": AT_MS}).encode())
    assert producer.flush(120) == 0
    # What the group has of a topic before this one: brokers forget it on a deletion, mirrors and
    # restored offsets do not. By the offsets alone this topic goes on where that one ended.
    group = Consumer({**settings.kafka_config(), "group.id": group_of(settings)})
    group.commit(offsets=[TopicPartition(topic, 0, 20, metadata_of("of-another"))], asynchronous=False)
    for taken, begun_anew in ((50, 1), (0, 0)):
        report = Ingester(settings, {topic: ListedEvents(ORDERS)}).run(Flag(), until_end=True)
        assert (report.taken, report.lost, report.begun_anew) == (taken, 0, begun_anew)
        (left,) = group.committed([TopicPartition(topic, 0)], timeout=60)
        assert id_in(left.metadata) == topic_id(settings, topic) != ""
    group.close()
    sessions = {message.key() for message in committed(settings, settings.events_topic, 1)}
    assert len(sessions) == 50
