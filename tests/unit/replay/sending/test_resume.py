from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from replay.sending import resume
from replay.sending.checkpoint import CheckpointFile, Position
from replay.sending.resume import ResumeState
from stream.settings import Settings


class Admin:
    """An admin client that answers a question for offsets with these errors first, then with 7."""

    def __init__(self, errors: list[int], topic_id: str = "an id") -> None:
        self.errors = errors
        self.topic_id = topic_id

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(cluster_id="cluster")

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, "Future[Any]"]:
        answer: Future[Any] = Future()
        answer.set_result(SimpleNamespace(topic_id=self.topic_id))
        return {"events": answer}

    def list_offsets(self, places: dict[Any, Any], request_timeout: float) -> dict[Any, "Future[Any]"]:
        answer: Future[Any] = Future()
        if self.errors:
            answer.set_exception(KafkaException(KafkaError(self.errors.pop(0))))
        else:
            answer.set_result(SimpleNamespace(offset=7))
        return dict.fromkeys(places, answer)


def begun(path: Path, errors: list[int], monkeypatch: pytest.MonkeyPatch) -> ResumeState:
    monkeypatch.setattr(resume, "AdminClient", lambda config: Admin(errors))
    state = ResumeState(Settings(partitions=1), CheckpointFile(path), {})
    state.begin(Position())
    return state


def test_a_partition_whose_leader_is_being_chosen_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]
    state = begun(tmp_path / "checkpoint", errors, monkeypatch)
    assert state.position.offsets == {0: 7}
    assert not errors


def test_a_refusal_ends_the_replay_before_it_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NextclickError, match="reading the offsets of events failed"):
        begun(tmp_path / "checkpoint", [KafkaError.TOPIC_AUTHORIZATION_FAILED], monkeypatch)
    assert not (tmp_path / "checkpoint").exists()


def test_a_checkpoint_of_a_topic_that_was_made_anew_is_refused_and_one_without_an_id_takes_that_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoint"
    begun(path, [], monkeypatch)

    def resumed(topic_id: str) -> ResumeState:
        monkeypatch.setattr(resume, "AdminClient", lambda config: Admin([], topic_id))
        return ResumeState(Settings(partitions=1), CheckpointFile(path), {})

    for same in ("an id", ""):
        assert resumed(same).resumed
    with pytest.raises(NextclickError, match="belongs to another replay: topic_id differs"):
        resumed("a new id")
    assert not caplog.records
    # As it was written before ids were kept.
    identity = {"topic": "events", "cluster": "cluster"}
    CheckpointFile(path).write(identity, Position(offsets={0: 7}))
    assert resumed("a new id").resumed
    assert "names no topic" in caplog.text
