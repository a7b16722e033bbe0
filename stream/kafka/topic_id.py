"""The id of a topic: tells it from an earlier or later one of its name, and from one of another cluster.

An offset means something only together with the id of its topic: fences, commit metadata, archives,
checkpoints and certificates carry it. Brokers before Kafka 2.8 and librdkafka's mock have no ids.

Topics that are ingested: committed offsets carry the id, an offset of a topic before the present one of its
name means nothing in it, and one that is made anew under an ingester ends it before a commit.

Tested by tests/unit/stream/kafka/test_topic_id.py, tests/unit/stream/kafka/test_source_topics.py and
tests/cases/test_recreated_topic.py.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S
from stream.kafka.retries import retry_while_away
from stream.logs import happening
from stream.settings import Settings

# The id where none is known: of brokers without ids, and of what was stored before ids were kept.
UNKNOWN = ""
# 128 zero bits, in base64: the answer of a broker that has no ids.
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# librdkafka's mock does not answer the request.
MOCK_CLUSTER = "mockCluster"
# Where the metadata of a committed offset names the topic.
FIELD = "topic_id"
logger = logging.getLogger(__name__)


def topic_id(settings: Settings, topic: str) -> str:
    """The id of a topic, UNKNOWN where the brokers have none.

    Asks again while the brokers are away. Raises NextclickError when they refuse, or have no such topic.
    """
    # Kept until it has answered.
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    return retry_while_away(lambda: ask_topic_id(admin, topic), f"asking for the id of the topic {topic}")


def ask_topic_id(admin: AdminClient, topic: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """The id of a topic, UNKNOWN where the brokers have none. Raises KafkaException."""
    if str(admin.list_topics(timeout=timeout_s).cluster_id).startswith(MOCK_CLUSTER):
        return UNKNOWN
    return present_id(admin, topic, timeout_s)


def present_id(admin: AdminClient, topic: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """As ask_topic_id, of brokers that are known not to be the mock, whose metadata is not asked for."""
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
    found = str(answer[topic].result(timeout=RESULT_TIMEOUT_S).topic_id).rstrip("=")
    return UNKNOWN if found == NO_ID else found


def is_other_topic(known: str, present: str) -> bool:
    """Whether an id that was kept is another topic's; what is UNKNOWN may be the same.

    >>> is_other_topic("a", "b"), is_other_topic("a", "a"), is_other_topic(UNKNOWN, "b")
    (True, False, False)
    """
    return known not in (UNKNOWN, present) and present != UNKNOWN


def other_id(admin: AdminClient, topic: str, known: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str | None:
    """The id that the topic has now, if it was made anew since its id was `known`.

    None as well while the brokers are away or the topic is gone: what was read is of the known one all the
    same.
    """
    if known == UNKNOWN:
        return None
    try:
        now = present_id(admin, topic, timeout_s)
    except KafkaException:
        return None
    return now if is_other_topic(known, now) else None


def first_other(known: Iterable[str], present: str) -> str | None:
    """The first of several ids that is another topic's, None when none is.

    >>> first_other(["", "a", "b"], "b")
    'a'
    """
    return next((kept for kept in known if is_other_topic(kept, present)), None)


class SourceTopics:
    """The ids of topics, as they were at the start."""

    def __init__(self, settings: Settings, topics: Iterable[str]) -> None:
        """Raises NextclickError for a topic that is not there."""
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        self._ids = {topic: self._ask(topic) for topic in topics}
        self._known = [topic for topic, found in self._ids.items() if found != UNKNOWN]

    def _ask(self, topic: str) -> str:
        return retry_while_away(
            lambda: ask_topic_id(self._admin, topic), f"asking for the id of the topic {topic}"
        )

    def named(self, topic: str, number: int, offset: int) -> TopicPartition:
        """An offset to commit, with the id of its topic."""
        return TopicPartition(topic, number, offset, metadata_of(self._ids[topic]))

    def is_of_another(self, committed: TopicPartition) -> bool:
        """Whether a committed offset is of a topic before this one of its name."""
        return is_other_topic(id_in(committed.metadata), self._ids[committed.topic])

    def log_other(self, committed: TopicPartition) -> None:
        """Log that a committed offset is of a topic before this one."""
        topic, number = committed.topic, committed.partition
        logger.warning(
            "partition %d: %s is another topic than the one of its committed offset %d: its id is %s, "
            "was %s; it is read from its beginning, and what was not taken of the other is gone",
            number,
            topic,
            committed.offset,
            self._ids[topic],
            id_in(committed.metadata),
            extra=happening("topic_made_anew", topic=topic, partition=number, topic_id=self._ids[topic]),
        )

    def check(self) -> None:
        """Raise NextclickError when a topic was made anew since the start.

        What was fetched before the call is then not committed: it may be of either topic.
        """
        if self._known:
            for topic, now in retry_while_away(self._ask_all, "asking for the ids of the topics").items():
                if is_other_topic(self._ids[topic], now):
                    raise made_anew(topic, self._ids[topic], now)

    def _ask_all(self) -> dict[str, str]:
        """The ids now of the topics that have one; a topic that is gone has none, and is not another."""
        answers = self._admin.describe_topics(TopicCollection(self._known), request_timeout=ANSWER_TIMEOUT_S)
        found = {}
        for topic, answer in answers.items():
            try:
                found[topic] = str(answer.result(timeout=RESULT_TIMEOUT_S).topic_id).rstrip("=")
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        return {topic: UNKNOWN if one == NO_ID else one for topic, one in found.items()}


def metadata_of(topic_id: str) -> str:
    """What is committed beside an offset.

    >>> id_in(metadata_of("Zm9v")), id_in(""), id_in(None), id_in("[]")
    ('Zm9v', '', '', '')
    """
    return json.dumps({FIELD: topic_id})


def id_in(metadata: str | None) -> str:
    """The id of the topic of a committed offset; UNKNOWN where none was kept, or another program wrote it."""
    try:
        kept = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return UNKNOWN
    found = kept.get(FIELD) if isinstance(kept, dict) else None
    return found if isinstance(found, str) else UNKNOWN


def made_anew(topic: str, before: str, now: str) -> NextclickError:
    """The error of a topic that is another one than at the start."""
    return NextclickError(
        f"the topic {topic} was made anew under the ingester: its id was {before}, is {now}",
        "The offsets that are read are of the topic before it. What is not committed of it is lost with it; "
        "nothing of the new one was taken yet.",
        "Start the ingester again: it reads the new topic from its beginning.",
    )
