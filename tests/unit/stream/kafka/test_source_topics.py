"""Offsets of ingested topics count only with the id of their topic."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from model.errors import NextclickError
from stream.kafka import topic_id
from stream.kafka.topic_id import NO_ID, SourceTopics, id_in, metadata_of
from stream.settings import Settings

TOPIC = "shop.clicks"


class Admin:
    """Answers with the ids that `ids` has now; a topic without one is gone."""

    def __init__(self, ids: dict[str, str]) -> None:
        self.ids = ids
        self.asked = 0

    def list_topics(self, **_: object) -> Any:
        return type("Cluster", (), {"cluster_id": "a cluster"})

    def describe_topics(self, topics: Any, **_: object) -> dict[str, Future[Any]]:
        self.asked += 1
        answers: dict[str, Future[Any]] = {}
        for topic in (TOPIC, "other"):
            future = answers[topic] = Future()
            if topic in self.ids:
                future.set_result(type("Topic", (), {"topic_id": self.ids[topic]}))
            else:
                future.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        return answers


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    made = Admin({TOPIC: "first", "other": "another"})
    monkeypatch.setattr(topic_id, "AdminClient", lambda config: made)
    yield made


def test_an_offset_is_committed_with_the_id_of_its_topic_and_counts_for_no_other(admin: Admin) -> None:
    topics = SourceTopics(Settings(), [TOPIC])
    kept = topics.named(TOPIC, 2, 40)
    assert (kept.topic, kept.partition, kept.offset) == (TOPIC, 2, 40)
    assert not topics.is_of_another(kept)
    admin.ids[TOPIC] = "second"
    assert SourceTopics(Settings(), [TOPIC]).is_of_another(kept)
    # What was committed before ids were kept may be of this one.
    assert not SourceTopics(Settings(), [TOPIC]).is_of_another(TopicPartition(TOPIC, 2, 40))


def test_a_topic_that_is_made_anew_under_an_ingester_ends_it(admin: Admin) -> None:
    topics = SourceTopics(Settings(), [TOPIC, "other"])
    topics.check()
    # Deleted, and not made again: what was read is of the topic of the start.
    del admin.ids[TOPIC]
    topics.check()
    admin.ids[TOPIC] = "second"
    with pytest.raises(NextclickError, match=f"{TOPIC} was made anew under the ingester: its id was first"):
        topics.check()


def test_brokers_without_ids_are_asked_once(admin: Admin) -> None:
    admin.ids = {TOPIC: NO_ID, "other": NO_ID}
    topics = SourceTopics(Settings(), [TOPIC])
    asked = admin.asked
    topics.check()
    assert admin.asked == asked
    assert not topics.is_of_another(TopicPartition(TOPIC, 0, 5, metadata_of("of-another-cluster")))


@pytest.mark.parametrize("metadata", [None, "", "{", "7", '{"topic_id": 7}', "[" * 100_000])
def test_what_another_program_committed_names_no_topic(metadata: str | None) -> None:
    assert id_in(metadata) == ""
