"""The watch asks in a thread; here brokers answer that are none."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.settings import Settings
from stream.worker import partition_watch
from stream.worker.partition_watch import PartitionWatch


def test_another_id_of_the_topic_ends_the_worker_and_brokers_that_are_away_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [KafkaException(KafkaError(KafkaError._TRANSPORT)), "the old id", "", "a new id"]

    def ask(*_: Any) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(partition_watch, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr("stream.kafka.topic_id.present_id", ask)
    no_topics = SimpleNamespace(list_topics=lambda name, timeout: SimpleNamespace(topics={}))
    monkeypatch.setattr(partition_watch, "AdminClient", lambda config: no_topics)
    failures: list[BaseException] = []
    failed = threading.Event()

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    watch = PartitionWatch(Settings(), on_failure)
    watch.start("the old id")
    assert failed.wait(240)
    (failure,) = failures
    assert isinstance(failure, NextclickError)
    assert "its id was the old id, is a new id" in failure.what
    assert answers == []
    assert watch.brokers_away_s == 0.0


def test_brokers_are_away_from_the_second_unanswered_question_until_one_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[float] = []
    failures: list[BaseException] = []
    answers = iter([False, True, False, False, False, True, True])
    done = threading.Event()

    def list_topics(name: str, timeout: float) -> Any:
        told.append(watch.brokers_away_s)
        answer = next(answers, None)
        if answer is None:
            # The last question.
            watch.stop()
            done.set()
        if not answer:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={})

    monkeypatch.setattr(partition_watch, "ASK_EVERY_S", 0.0)
    brokers = SimpleNamespace(list_topics=list_topics)
    monkeypatch.setattr(partition_watch, "AdminClient", lambda config: brokers)
    watch = PartitionWatch(Settings(), failures.append)
    watch.start("")
    assert done.wait(240)
    # As each question was asked; one that is lost is no absence.
    assert [away_s > 0 for away_s in told] == [False, False, False, False, True, True, False, False]
    assert not failures
