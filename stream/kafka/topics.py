"""The topics that a worker needs, those of items and purchases: created where missing, verified where there.

Knows their names, partition counts and retention; produces and consumes nothing. A wrong
partition count is an error before anything is consumed, since a session's events and its
`recommendations` must have the same partition number.

Tested by tests/integration/test_topics.py and tests/unit/stream/kafka/test_topics_made.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S, metadata, remedy_for
from stream.kafka.retries import is_transient, retry_while_away
from stream.settings import Settings

DAY_MS = 86_400_000
KEPT_PURCHASES_DAYS = 366


@dataclass(frozen=True)
class TopicPlan:
    """The expected layout of one topic; `exact`: with exactly this many partitions."""

    name: str
    partitions: int
    exact: bool = True
    config: dict[str, str] = field(default_factory=dict)


def plans(settings: Settings) -> list[TopicPlan]:
    """The four topics: events, recommendations, models, dead letters.

    Kafka ages a record by its message timestamp, which in `events` is the event time: with
    the 7-day default a replayed log of 2014 would be deleted within minutes.

    >>> [plan.name for plan in plans(Settings())]
    ['events', 'recommendations', 'models', 'events-dlq']
    """
    return [
        TopicPlan(settings.events_topic, settings.partitions, config={"retention.ms": "-1"}),
        TopicPlan(
            settings.recommendations_topic, settings.partitions, config={"retention.ms": str(7 * DAY_MS)}
        ),
        TopicPlan(settings.models_topic, 1, exact=False, config={"cleanup.policy": "compact"}),
        TopicPlan(settings.dlq_topic, 1, exact=False, config={"retention.ms": str(30 * DAY_MS)}),
    ]


def optional_plans(settings: Settings) -> list[TopicPlan]:
    """The topics that a worker uses where they are there: items, purchases, lists of placements.

    >>> [plan.name for plan in optional_plans(Settings())]
    ['items', 'nextclick-purchases', 'nextclick-placements']
    """
    # A purchase of a year ago by the wall is of no use to a rule.
    kept = {"cleanup.policy": "compact,delete", "retention.ms": str(KEPT_PURCHASES_DAYS * DAY_MS)}
    return [
        TopicPlan(settings.items_topic, 1, exact=False, config={"cleanup.policy": "compact"}),
        TopicPlan(settings.purchases_topic, 1, exact=False, config=kept),
        TopicPlan(
            settings.placements_topic,
            settings.partitions,
            exact=False,
            config={"retention.ms": str(7 * DAY_MS)},
        ),
    ]


def outcomes_plan(settings: Settings) -> TopicPlan:
    """The topic of what came of the lists, which `nextclick outcomes` writes; as wide as theirs.

    >>> outcomes_plan(Settings()).name
    'outcomes'
    """
    config = {"retention.ms": str(90 * DAY_MS)}
    return TopicPlan(settings.outcomes_topic, settings.partitions, exact=False, config=config)


def partition_counts(admin: AdminClient, settings: Settings) -> dict[str, int]:
    """Partitions by topic name, as the brokers have them. Raises NextclickError without a broker."""
    topics = metadata(admin, settings).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def ensure_topics(
    settings: Settings, *, create: bool = True, optional: bool = False, more: Sequence[TopicPlan] = ()
) -> dict[str, int]:
    """Create the missing topics, verify all, and return their partition counts; with `optional`, all seven.

    `more` are topics beside these.

    Raises NextclickError when no broker answers, a topic cannot be made, or `events` and
    `recommendations` differ in partitions or from the settings.
    """
    quiet = {**settings.kafka_config(), "log_level": 0}
    admin = AdminClient(quiet)
    present = partition_counts(admin, settings)
    wanted = [*plans(settings), *(optional_plans(settings) if optional else []), *more]
    missing = [plan for plan in wanted if plan.name not in present]
    if settings.events_mapping and any(plan.name == settings.events_topic for plan in missing):
        raise NextclickError(
            f"the topic {settings.events_topic} is not there",
            "It is a topic of one's own (events_mapping is set) and not made here. Nothing was started.",
            "Name the topic that has the events in NEXTCLICK_EVENTS_TOPIC.",
        )
    if missing and create:
        _create(admin, missing, settings)
        # A broker may answer without the new topics for a while.
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        present = partition_counts(admin, settings)
        while any(not present.get(plan.name) for plan in missing) and time.monotonic() < deadline:
            admin.poll(0.05)
            present = partition_counts(admin, settings)
    problem = wrong_partitions({**{plan.name: 0 for plan in wanted}, **present}, settings)
    if problem is not None:
        raise problem
    return {plan.name: present[plan.name] for plan in wanted}


def wrong_partitions(present: dict[str, int], settings: Settings) -> NextclickError | None:
    """The error of the topics in `present`, name → partitions, that differ from the settings; or None.

    >>> wrong_partitions({"events": 4, "recommendations": 4}, Settings(partitions=4)) is None
    True
    """
    wrong = [
        f"{plan.name} has {present[plan.name]} partitions, expected {plan.partitions}"
        for plan in plans(settings)
        if plan.name in present
        and present[plan.name] != plan.partitions
        and (plan.exact or not present[plan.name])
    ]
    if not wrong:
        return None
    return NextclickError(
        "; ".join(wrong),
        "A session's events and lists must share a partition number, so the worker does not start, "
        "and one that runs ends: sessions are placed by the number of partitions.",
        "Set --partitions to what the topics have, or delete and recreate the topics.",
    )


def _create(admin: AdminClient, missing: Sequence[TopicPlan], settings: Settings) -> None:
    meaning, remedy = "The worker needs all four topics.", "Create it by hand: `nextclick topics`."
    requests = [
        NewTopic(
            plan.name,
            num_partitions=plan.partitions,
            replication_factor=settings.replication_factor,
            config=plan.config,
        )
        for plan in missing
    ]

    def ask() -> None:
        made = admin.create_topics(
            requests, operation_timeout=ANSWER_TIMEOUT_S, request_timeout=1.5 * ANSWER_TIMEOUT_S
        )
        for name, future in made.items():
            try:
                future.result(timeout=RESULT_TIMEOUT_S)
            except KafkaException as error:
                problem: KafkaError = error.args[0]
                if problem.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if is_transient(problem):
                    raise
                raise NextclickError(
                    f"topic {name} could not be created: {problem.str()}",
                    meaning,
                    remedy_for(problem, remedy),
                ) from None

    names = ", ".join(plan.name for plan in missing)
    retry_while_away(ask, f"creating {names}", meaning=meaning, remedy=remedy)
