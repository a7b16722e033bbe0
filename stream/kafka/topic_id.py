"""The id of a topic: tells it from an earlier or later one of its name, and from one of another cluster.

An offset means something only together with the id of its topic: fences, commit metadata, archives,
checkpoints and certificates carry it. Brokers before Kafka 2.8 and librdkafka's mock have no ids.

Tested by tests/unit/stream/kafka/test_topic_id.py and tests/cases/test_recreated_topic.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S
from stream.kafka.retries import retry_while_away
from stream.settings import Settings

# The id where none is known: of brokers without ids, and of what was stored before ids were kept.
UNKNOWN = ""
# 128 zero bits, in base64: the answer of a broker that has no ids.
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
# librdkafka's mock does not answer the request.
MOCK_CLUSTER = "mockCluster"


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
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
    found = str(answer[topic].result(timeout=RESULT_TIMEOUT_S).topic_id).rstrip("=")
    return UNKNOWN if found == NO_ID else found


def is_other_topic(known: str, present: str) -> bool:
    """Whether an id that was kept is another topic's; what is UNKNOWN may be the same.

    >>> is_other_topic("a", "b"), is_other_topic("a", "a"), is_other_topic(UNKNOWN, "b")
    (True, False, False)
    """
    return known not in (UNKNOWN, present) and present != UNKNOWN


def first_other(known: Iterable[str], present: str) -> str | None:
    """The first of several ids that is another topic's, None when none is.

    >>> first_other(["", "a", "b"], "b")
    'a'
    """
    return next((kept for kept in known if is_other_topic(kept, present)), None)
