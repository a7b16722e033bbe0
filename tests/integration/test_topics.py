"""`nextclick topics`, on real topics."""

import json
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from stream.kafka.topics import plans
from stream.settings import Settings
from tests.harness.commands import run, run_json

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics of this test's own, that the commands know by their environment."""
    made = make_settings(partitions=2)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


def alter(settings: Settings, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(settings.kafka_config())
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(timeout=120)


def test_topics_as_they_were_created_differ_in_nothing(settings: Settings) -> None:
    verified = run_json("topics", "verify")
    assert verified["differences"] == []
    counts = [2, 2, 1, 1]
    assert verified["partitions"] == {p.name: n for p, n in zip(plans(settings), counts, strict=True)}
    created = run("topics", "--partitions", "2")
    assert created.exit_code == 0
    assert f"{settings.events_topic}: 2 partitions" in created.stdout
    assert "as they have to be" in created.stdout


@pytest.mark.parametrize(
    ("topic", "name", "value", "wanted"),
    [
        ("events_topic", "retention.ms", "604800000", "-1"),
        ("events_topic", "retention.bytes", "1000000", "-1"),
        ("events_topic", "message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("events_topic", "max.message.bytes", "1000", "at least 69632"),
        ("recommendations_topic", "cleanup.policy", "compact", "delete"),
        ("models_topic", "cleanup.policy", "delete", "compact"),
        ("dlq_topic", "retention.ms", "1000", "2592000000"),
    ],
)
def test_a_setting_that_differs_is_named_with_the_command_that_corrects_it(
    settings: Settings, topic: str, name: str, value: str, wanted: str
) -> None:
    changed = getattr(settings, topic)
    alter(settings, changed, name, value)
    verified = run("topics", "verify", "--json")
    assert verified.exit_code == 1
    (found,) = json.loads(verified.stdout)["differences"]
    assert (found["topic"], found["setting"], found["has"], found["wanted"]) == (changed, name, value, wanted)
    corrected = wanted.removeprefix("at least ")
    assert f"--entity-name {changed} --add-config {name}={corrected}" in found["remedy"]
    alter(settings, changed, name, corrected)
    assert run("topics", "verify").exit_code == 0


def test_another_number_of_partitions_and_a_missing_topic_are_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_PARTITIONS", "3")
    monkeypatch.setenv("NEXTCLICK_DLQ_TOPIC", "no-such-topic")
    verified = run("topics", "verify", "--json")
    assert verified.exit_code == 1
    found = {row["topic"]: row for row in json.loads(verified.stdout)["differences"]}
    assert found.keys() == {settings.events_topic, settings.recommendations_topic, "no-such-topic"}
    assert found[settings.events_topic]["has"] == "2"
    assert "NEXTCLICK_PARTITIONS=2" in found[settings.events_topic]["remedy"]
    assert found["no-such-topic"]["remedy"] == "nextclick topics create"
    assert all(row["stops"] for row in found.values())
