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

    def __init__(self, errors: list[int]) -> None:
        self.errors = errors

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(cluster_id="cluster")

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
