"""Compares the brokers' topics with what they must be. Changes nothing.

Tested by tests/integration/test_topics.py and tests/integration/test_doctor.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ResourceType,
)

from model.errors import NextclickError
from stream.events import MAX_EVENT_BYTES
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S
from stream.kafka.topics import TopicPlan, optional_plans, plans
from stream.settings import Settings

# A batch has headers and an overhead beside the largest accepted event.
MIN_MESSAGE_BYTES = MAX_EVENT_BYTES + 4096


@dataclass(frozen=True)
class Difference:
    """A `setting` of a topic that is wrong; `stops`: the worker cannot run or would lose events."""

    topic: str
    setting: str
    has: str
    wanted: str
    remedy: str
    stops: bool = False


def expected_config(plan: TopicPlan, settings: Settings) -> dict[str, str]:
    """The verified configuration of a topic: what it is created with, and what must not differ."""
    config = {"cleanup.policy": "delete", **plan.config}
    if plan.name == settings.events_topic:
        # Retention by size or arrival time would remove events that open sessions and retraining need;
        # the message timestamp is the event time.
        config |= {"retention.bytes": "-1", "message.timestamp.type": "CreateTime"}
    return config


def differences(admin: AdminClient, settings: Settings) -> list[Difference]:
    """The differences of the topics, topic by topic; the optional ones need not be there.

    Raises NextclickError without an answer.
    """
    try:
        topics = admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics
        found: list[Difference] = []
        needed = plans(settings)
        there = [plan for plan in optional_plans(settings) if plan.name in topics]
        for plan in [*needed, *there]:
            topic = topics.get(plan.name)
            if topic is None or topic.error is not None or not topic.partitions:
                create = "nextclick topics create"
                found.append(Difference(plan.name, "topic", "missing", "present", create, stops=True))
                continue
            found += _layout(plan, topic.partitions, settings)
            found += _configuration(plan, _config_of(admin, plan.name), settings)
    except KafkaException as error:
        raise NextclickError(
            f"the topics could not be asked for at {settings.bootstrap_servers}: {error.args[0].str()}",
            "Nothing is known about them, and nothing was changed.",
            "Look at the brokers and at this client's rights (ACL: Describe, DescribeConfigs on topics).",
        ) from None
    return found


def _config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (answer,) = admin.describe_configs([resource], request_timeout=ANSWER_TIMEOUT_S).values()
    return {name: str(entry.value) for name, entry in answer.result(timeout=RESULT_TIMEOUT_S).items()}


def _layout(plan: TopicPlan, partitions: Mapping[int, object], settings: Settings) -> list[Difference]:
    """Partitions, copies and leaders."""
    found = []
    count = len(partitions)
    if plan.exact and count != plan.partitions:
        remedy = (
            f"NEXTCLICK_PARTITIONS={count} for every process, or make the topic anew: to add partitions "
            "would place sessions elsewhere"
        )
        found.append(
            Difference(plan.name, "partitions", str(count), str(plan.partitions), remedy, stops=True)
        )
    copies = min(len(getattr(p, "replicas", ())) for p in partitions.values())
    if copies < settings.replication_factor:
        remedy = f"kafka-reassign-partitions.sh, to {settings.replication_factor} replicas for {plan.name}"
        wanted = str(settings.replication_factor)
        found.append(Difference(plan.name, "replication", str(copies), wanted, remedy))
    lacking = [n for n, p in partitions.items() if len(getattr(p, "isrs", ())) < copies]
    if lacking:
        remedy = (
            "bring the brokers that are away back: kafka-topics.sh --describe --under-replicated-partitions"
        )
        found.append(
            Difference(plan.name, "in-sync replicas", f"too few of {sorted(lacking)}", str(copies), remedy)
        )
    leaderless = sorted(n for n, p in partitions.items() if getattr(p, "leader", -1) < 0)
    if leaderless:
        remedy = "bring a broker with a copy back"
        found.append(Difference(plan.name, "leader", f"none of {leaderless}", "one each", remedy, stops=True))
    return found


def _configuration(plan: TopicPlan, config: dict[str, str], settings: Settings) -> list[Difference]:
    found = []
    for name, wanted in expected_config(plan, settings).items():
        if name in config and config[name] != wanted:
            remedy = _alter(settings, plan.name, name, wanted)
            # In `events` these settings lose events or change their time; a topic of one's own has its own.
            stops = plan.name == settings.events_topic and not settings.events_mapping
            found.append(Difference(plan.name, name, config[name], wanted, remedy, stops=stops))
    largest = int(config.get("max.message.bytes", MIN_MESSAGE_BYTES))
    if largest < MIN_MESSAGE_BYTES:
        remedy = _alter(settings, plan.name, "max.message.bytes", str(MIN_MESSAGE_BYTES))
        wanted = f"at least {MIN_MESSAGE_BYTES}"
        found.append(Difference(plan.name, "max.message.bytes", str(largest), wanted, remedy))
    in_sync = int(config.get("min.insync.replicas", 1))
    if settings.replication_factor > 2 and in_sync < 2:
        # With one acknowledged copy, losing its broker loses the event.
        remedy = _alter(settings, plan.name, "min.insync.replicas", "2")
        found.append(Difference(plan.name, "min.insync.replicas", str(in_sync), "at least 2", remedy))
    return found


def _alter(settings: Settings, topic: str, name: str, value: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {settings.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {name}={value}"
    )


def is_refused(error: KafkaError) -> bool:
    """Whether the brokers refuse this client: its certificate, its password or its rights."""
    return error.code() in (
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )
