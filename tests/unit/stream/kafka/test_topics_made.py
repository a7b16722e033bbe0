"""Topics are made once the brokers can: what a test cannot have of a real one, a broker that is fenced."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.kafka import retries, topics
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

FENCED = KafkaError(
    KafkaError.INVALID_REPLICATION_FACTOR,
    "Unable to replicate the partition 1 time(s): All brokers are currently fenced.",
)
TOO_FEW = KafkaError(KafkaError.INVALID_REPLICATION_FACTOR, "only 1 broker is registered")
AWAY = KafkaError(KafkaError._TIMED_OUT, "Failed while waiting for controller")


class Admin:
    """Makes topics, and has an error for the first requests about each."""

    def __init__(self, errors: Sequence[KafkaError]) -> None:
        self.errors = errors
        self.asked: dict[str, int] = {}
        self.made: dict[str, int] = {}

    def create_topics(self, new: list[Any], **_: float) -> dict[str, "Future[None]"]:
        futures = {}
        for one in new:
            futures[one.topic] = future = Future[None]()
            number = self.asked[one.topic] = self.asked.get(one.topic, 0) + 1
            if number <= len(self.errors):
                future.set_exception(KafkaException(self.errors[number - 1]))
            else:
                self.made[one.topic] = one.num_partitions
                future.set_result(None)
        return futures

    def poll(self, _: float) -> None:
        """Nothing comes."""


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Admin:
    made = Admin(request.param)
    monkeypatch.setattr(topics, "AdminClient", lambda config: made)
    monkeypatch.setattr(topics, "partition_counts", lambda admin, settings: dict(made.made))
    monkeypatch.setattr(retries, "RETRY_INTERVAL_S", 0.0)
    return made


@pytest.mark.parametrize("admin", [[FENCED], [AWAY, FENCED]], indirect=True)
def test_a_topic_that_a_fenced_broker_cannot_have_yet_is_asked_for_again(admin: Admin) -> None:
    found = ensure_topics(Settings(partitions=4))
    assert found["events"] == 4
    assert set(admin.asked.values()) == {len(admin.errors) + 1}


@pytest.mark.parametrize("admin", [[TOO_FEW]], indirect=True)
def test_what_no_waiting_mends_is_told_at_once(admin: Admin) -> None:
    with pytest.raises(NextclickError) as refused:
        ensure_topics(Settings(replication_factor=3))
    assert "only 1 broker is registered" in refused.value.what
    assert set(admin.asked.values()) == {1}


@pytest.mark.parametrize("admin", [[FENCED] * 2], indirect=True)
def test_waiting_ends(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_FOR_S", -1.0)
    with pytest.raises(NextclickError, match="fenced"):
        ensure_topics(Settings())
