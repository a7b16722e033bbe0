import json
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from typer.testing import CliRunner, Result

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import SendOptions, replay_frames
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archiver import Archiver
from stream.event_log.window import read_window
from stream.events import Event, encode_event
from stream.ingest.ingester import Ingester
from stream.ingest.listed_events import ListedEvents
from stream.ingest.named_mappings import mapping_by
from stream.kafka.acls import granted, rights
from stream.kafka.announcements import announce
from stream.kafka.connection import NOT_ALLOWED, RefusedConnection
from stream.kafka.lists_reader import recommendations
from stream.kafka.topics import ensure_topics, plans
from stream.retraining.options import RetrainOptions
from stream.retraining.retrain import retrain
from stream.settings import Settings
from tests.conftest import kafka_sh, settings_of_its_own, train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.retraining import SMALL, two_parts
from tests.harness.secure import SecureKafka, as_user
from tests.harness.serving import all_committed, all_lists, assert_equal_to_offline, stop, worker

pytestmark = pytest.mark.kafka
ROLES = ("replay", "worker", "ingest", "retrain", "archive", "promote", "subscriber", "exporter", "operator")
KINDS = ("events", "recommendations", "models", "dlq")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    folder = tmp_path_factory.mktemp("secure")
    address = kafka_sh("start", folder, "--secure").stdout.strip()
    try:
        yield SecureKafka(address, folder)
    finally:
        kafka_sh("kill", folder)


@pytest.fixture(scope="module")
def admin(broker: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The super user's settings, with topics and every role's rights on them."""
    folder = tmp_path_factory.mktemp("system")
    settings = settings_of_its_own(
        broker.address,
        folder,
        deterministic=True,
        ingest_from="shop.clicks=segment",
        **without_address(broker.user("admin")),
    )
    ended = command(settings, "acls", "--apply", "--verify")
    assert ended.exit_code == 0, ended.output
    return settings


def without_address(user: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in user.items() if name != "bootstrap_servers"}


def command(settings: Settings, *arguments: str, catch_exceptions: bool = True) -> Result:
    environment = settings.environment()
    return CliRunner().invoke(nextclick.app, arguments, env=environment, catch_exceptions=catch_exceptions)


def test_every_role_does_its_whole_job_with_its_rights_alone(
    broker: SecureKafka, admin: Settings, tmp_path: Path
) -> None:
    role = {name: as_user(admin, broker, name) for name in ROLES}
    earlier, later = two_parts()
    later = later.head(2_000)
    ensure_topics(role["operator"])
    replay_frames(role["replay"], [earlier])
    report = retrain(role["retrain"], RetrainOptions(changes=SMALL))
    assert report.version is not None, report
    model = Registry(admin.registry_dir).load()
    with worker(role["worker"], tmp_path) as process:
        replay_frames(role["replay"], [later], SendOptions(lag_limit=1_000))
        process.wait_until(all_committed(role["exporter"]), "the whole log")
        announce(role["promote"], model.version)
        stop(process)
        log = process.log()
    frame = pd.concat([earlier, later], ignore_index=True)
    assert_equal_to_offline(admin, model, frame)
    assert len(all_lists(role["subscriber"])) == len(frame)
    for name in ROLES:
        assert broker.password_file(name).read_text().strip() not in log

    folder = ArchiveFolder(tmp_path / "archive")
    archiver = Archiver(role["archive"], folder, rotate_events=9_999, rotate_s=60)
    assert archiver.run(threading.Event(), until_end=True).events == len(frame)
    letters = Consumer({**role["operator"].kafka_config(), "group.id": f"{admin.group_id}-letters"})
    assert letters.get_watermark_offsets(TopicPartition(admin.dlq_topic, 0), timeout=60) == (0, 0)
    letters.close()

    producer = Producer(role["worker"].kafka_config())
    headers: dict[str, str | bytes | None] = {
        "reason": "future",
        "topic": "events",
        "partition": "0",
        "offset": "7",
    }
    producer.produce(admin.dlq_topic, encode_event(Event("s", 1_700_000_000_000, "i")), b"s", headers=headers)
    assert producer.flush(40) == 0
    for expected in (1, 0):
        ended = command(role["operator"], "dlq", "replay", "--json")
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.stdout)["sent"] == expected
    shown = command(role["operator"], "dlq", "show", "--json")
    assert [letter["done"] for letter in json.loads(shown.stdout)["letters"]] == [True]
    assert command(role["operator"], "topics", "verify").exit_code == 0
    findings = json.loads(command(role["operator"], "doctor", "--json").stdout)["findings"]
    assert {finding["check"] for finding in findings} >= {"topics", "group", "lag", "events"}
    # How large a record the brokers take is the cluster's affair.
    refused = {finding["check"] for finding in findings if "not allowed" in finding["found"]}
    assert refused <= {"message size"}


def test_an_ingester_does_its_whole_job_with_its_rights_alone(broker: SecureKafka, admin: Settings) -> None:
    settings = as_user(admin, broker, "ingest")
    mapped = {name: ListedEvents(mapping_by(mapping)) for name, mapping in admin.ingested().items()}
    with pytest.raises(NextclickError, match=r"the topic shop\.clicks cannot be ingested"):
        Ingester(settings, mapped).run(threading.Event())
    admin_client = AdminClient({**admin.kafka_config(), "log_level": 0})
    admin_client.create_topics([NewTopic("shop.clicks", 1, 1)])["shop.clicks"].result(timeout=30)
    clicks = [{"anonymousId": "a", "event": "Product Viewed", "properties": {"sku": "7"}}, {"event": "x"}]
    producer = Producer(admin.producer_config())
    for click in clicks:
        producer.produce("shop.clicks", json.dumps(click).encode())
    producer.produce("shop.clicks", b"{")
    assert producer.flush(40) == 0
    assert ensure_topics(settings, create=False)
    report = Ingester(settings, mapped).run(threading.Event(), until_end=True)
    assert (report.events, report.left_out.total(), report.dead_lettered.total()) == (1, 1, 1)
    other = settings.model_copy(update={"group_id": "others"})
    with pytest.raises(NextclickError, match="uthorization failed"):
        Ingester(other, mapped).run(threading.Event(), until_end=True)


@pytest.mark.parametrize(
    ("role", "writes", "reads"),
    [
        ("replay", "events", ""),
        ("worker", "recommendations models dlq", "events models"),
        ("ingest", "events dlq", ""),
        ("retrain", "models", "events"),
        ("archive", "", "events"),
        ("promote", "models", "models"),
        ("subscriber", "", "recommendations"),
        ("exporter", "", ""),
        ("operator", "events", "events recommendations models dlq"),
    ],
)
def test_a_role_writes_reads_commits_and_rules_nothing_else(
    broker: SecureKafka, admin: Settings, role: str, writes: str, reads: str
) -> None:
    settings = as_user(admin, broker, role)
    names = {plan.name: kind for plan, kind in zip(plans(admin), KINDS, strict=True)}
    assert {names[topic] for topic in writable(settings, set(names))} == set(writes.split())
    assert {names[topic] for topic in readable(settings, set(names))} == set(reads.split())
    client = AdminClient({**settings.kafka_config(), "log_level": 0})
    others = "of-others" if role == "worker" else admin.group_id
    moved = ConsumerGroupTopicPartitions(others, [TopicPartition(admin.events_topic, 0, 0)])
    for answers in (
        client.alter_consumer_group_offsets([moved]),
        client.delete_topics([admin.events_topic]),
        client.create_topics([NewTopic("of-its-own", 1, 1)]),
        client.create_acls([right.binding() for right in rights(admin)["worker"][:1]]),
    ):
        for answer in answers.values():
            assert refusal(answer) in NOT_ALLOWED


def refusal(answer: Any) -> int | None:
    """Why an admin client's request was refused, None if it was not."""
    try:
        result = answer.result(timeout=120)
    except KafkaException as error:
        return int(error.args[0].code())
    if isinstance(result, ConsumerGroupTopicPartitions):
        errors = [place.error for place in result.topic_partitions or [] if place.error is not None]
        return int(errors[0].code()) if errors else None
    return None


def writable(settings: Settings, topics: set[str]) -> set[str]:
    """The topics that take a record from this user."""
    taken: dict[str, KafkaError | None] = {}
    config = {**settings.kafka_config(), "log_level": 0, "message.timeout.ms": 30_000}
    producer = Producer(config)
    for topic in topics:
        producer.produce(
            topic,
            b"{}",
            b"key",
            on_delivery=lambda error, message: taken.update({message.topic() or "": error}),
        )
    assert producer.flush(40) == 0
    assert {error.code() for error in taken.values() if error} <= NOT_ALLOWED
    return {topic for topic, error in taken.items() if error is None}


def readable(settings: Settings, topics: set[str]) -> set[str]:
    """The topics whose records this user gets."""
    config = {**settings.kafka_config(), "group.id": "any", "log_level": 0, "enable.partition.eof": True}
    consumer = Consumer({**config, "enable.auto.commit": False})
    found: dict[str, bool] = {}
    for topic in topics:
        # Of what it may not even know, a consumer hears nothing.
        error = consumer.list_topics(topic, timeout=30).topics[topic].error
        if error is not None:
            assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
            found[topic] = False
    consumer.assign([TopicPartition(topic, 0, 0) for topic in topics - found.keys()])
    deadline = time.monotonic() + 240
    while found.keys() < topics:
        assert time.monotonic() < deadline, found
        for message in consumer.consume(100, timeout=0.2):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                found[message.topic() or ""] = True
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                found[message.topic() or ""] = False
    consumer.close()
    return {topic for topic, is_allowed in found.items() if is_allowed}


def test_a_worker_without_its_rights_ends_and_says_which_it_lacks(
    broker: SecureKafka, admin: Settings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    train_small(shoppers, Registry(tmp_path), network="pop")
    lacking = as_user(admin, broker, "worker", registry_dir=tmp_path, web_port=free_port(), group_id="others")
    process = WorkerProcess(lacking, tmp_path / "worker.log")
    try:
        # Found before anything is served.
        assert process.process.wait(240) == 2
    finally:
        process.kill()
    assert "Group authorization failed" in process.log() or "GroupAuthorizationFailed" in process.log()
    assert broker.password_file("worker").read_text().strip() not in process.log()


def test_what_brokers_refuse_is_told_soon_and_clearly(
    broker: SecureKafka, admin: Settings, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.password"
    wrong.write_text("wrong-password\n")
    other_authority = Path(ssl.get_default_verify_paths().openssl_cafile)
    plain = {name: None for name in broker.user("worker") if name.startswith(("sasl", "ssl"))}
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"sasl_password_file": wrong}, "does not let user 'worker' in by SCRAM-SHA-512"),
        ({"sasl_username": "nobody"}, "does not let user 'nobody' in"),
        ({"sasl_mechanism": "PLAIN"}, "does not let user 'worker' in by PLAIN"),
        ({"ssl_ca_file": other_authority}, "certificate of .* is not accepted: unable to get local issuer"),
        ({**plain, "security_protocol": "PLAINTEXT"}, "speaks TLS, and security_protocol is PLAINTEXT"),
    ]
    for changes, words in refusals:
        given = {name: v for name, v in {**broker.user("worker"), **changes}.items() if v is not None}
        settings = Settings(**given)
        with pytest.raises(RefusedConnection, match=words) as caught:
            ensure_topics(settings)
        assert "wrong-password" not in str(caught.value)
    with pytest.raises(RefusedConnection, match="does not let user"):
        replay_frames(as_user(admin, broker, "replay", sasl_password_file=wrong), [])
    with pytest.raises(RefusedConnection, match="does not let user"):
        read_window(as_user(admin, broker, "retrain", sasl_password_file=wrong))
    with pytest.raises(RefusedConnection, match="does not let user"):
        next(recommendations(as_user(admin, broker, "subscriber", sasl_password_file=wrong)))


def test_rights_that_differ_are_shown_and_only_a_super_user_looks(
    broker: SecureKafka, admin: Settings
) -> None:
    other = as_user(admin, broker, "admin", events_topic="of-others")
    told = json.loads(command(other, "acls", "--role", "replay", "--verify", "--json").stdout)
    assert [right["name"] for right in told["missing"]] == ["of-others"]
    assert [right["name"] for right in told["extra"]] == [admin.events_topic]
    assert command(other, "acls", "--role", "replay", "--verify").exit_code == 1
    with pytest.raises(NextclickError, match="the brokers show no rights of anybody"):
        granted(as_user(admin, broker, "worker"), {"User:worker"})
    with pytest.raises(NextclickError, match="there is no role king"):
        command(admin, "acls", "--role", "king", catch_exceptions=False)


def test_what_the_broker_keeps_secret_is_for_its_owner_alone(broker: SecureKafka, tmp_path: Path) -> None:
    secrets = broker.folder / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for path in [*secrets.iterdir(), broker.folder / "server.properties"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert not list(secrets.glob("scram*"))
    assert kafka_sh("start", broker.folder).stdout.strip() == broker.address
    (tmp_path / "data").mkdir()
    refused = kafka_sh("start", tmp_path, "--secure", check=False)
    assert refused.returncode == 2
    assert "without security" in refused.stderr
