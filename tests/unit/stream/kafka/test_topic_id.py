from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka.admin import AdminClient

from stream.kafka.topic_id import MOCK_CLUSTER, NO_ID, UNKNOWN, ask_topic_id


class Brokers:
    """What an admin client answers of a cluster whose topics all have one id."""

    def __init__(self, cluster: str, topic_id: str) -> None:
        self._cluster, self._topic_id = cluster, topic_id
        self.asked = 0

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(cluster_id=self._cluster)

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, Any]:
        self.asked += 1
        described = SimpleNamespace(topic_id=self._topic_id)
        return {"events": SimpleNamespace(result=lambda timeout: described)}


@pytest.mark.parametrize(
    ("cluster", "answer", "expected"),
    [
        ("QxKs7S5eSje6wIK1xM7tqA", "LoAIKhN4T9uNJ10bjglJ+w", "LoAIKhN4T9uNJ10bjglJ+w"),
        ("QxKs7S5eSje6wIK1xM7tqA", NO_ID, UNKNOWN),
        (f"{MOCK_CLUSTER}155e9c78c8c0", "never asked", UNKNOWN),
    ],
)
def test_the_id_is_unknown_where_the_brokers_have_none(cluster: str, answer: str, expected: str) -> None:
    brokers = Brokers(cluster, answer)
    assert ask_topic_id(cast(AdminClient, brokers), "events") == expected
    assert brokers.asked == (not cluster.startswith(MOCK_CLUSTER))
