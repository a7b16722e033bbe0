"""The watch asks in a thread; here brokers answer that are none."""

import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.settings import Settings
from stream.worker import models_topic_watch
from stream.worker.models_topic_watch import ModelsTopicWatch

GONE = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


class FakeRecord:
    """A record of `models`."""

    def __init__(self, key: bytes, value: bytes) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def error(self) -> None:
        return None


class FakeConsumer:
    """A client that hears each of `later`, one at a time."""

    def __init__(self, later: list[FakeRecord]) -> None:
        self.later, self.assigned, self.closed = later, list[Any](), False

    def assign(self, places: list[Any]) -> None:
        self.assigned = [(place.partition, place.offset) for place in places]

    def consume(self, most: int, timeout: float) -> list[FakeRecord]:
        return [self.later.pop(0)] if self.later else []

    def close(self) -> None:
        self.closed = True


def test_a_topic_made_anew_is_followed_by_its_newest_records_then_by_what_comes_and_tried_until_it_is_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids: list[Any] = ["the old id", GONE, GONE, "a new id", "a new id"]
    unread: list[Exception] = [NextclickError("no leader yet", "It is made.", "Try again.")]
    kept = [FakeRecord(b"champion", b"1"), FakeRecord(b"shadow", b"2"), FakeRecord(b"champion", b"3")]
    consumers: list[FakeConsumer] = []
    read_before: list[bool] = []

    def ask(*_: Any) -> str:
        read_before.append(watch.reads)
        answer = ids.pop(0) if len(ids) > 1 else ids[0]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    def bounds(consumer: Any, place: Any) -> tuple[int, int]:
        if unread:
            raise unread.pop()
        return 0, len(kept)

    def groupless(settings: Settings, purpose: str, config: Any) -> FakeConsumer:
        assert f"{settings.group_id}-{purpose}" == "nextclick-models-w"
        consumers.append(FakeConsumer([FakeRecord(b"champion", b"4"), FakeRecord(b"champion", b"5")]))
        return consumers[-1]

    monkeypatch.setattr(models_topic_watch, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(models_topic_watch, "POLL_S", 0.0)
    monkeypatch.setattr(models_topic_watch, "present_id", ask)
    monkeypatch.setattr(models_topic_watch, "partition_counts", lambda admin, settings: {"models": 1})
    monkeypatch.setattr(models_topic_watch, "offset_bounds", bounds)
    monkeypatch.setattr(models_topic_watch, "groupless_consumer", groupless)
    monkeypatch.setattr(models_topic_watch, "AdminClient", lambda config: None)
    reader = SimpleNamespace(read=lambda ranges: iter([kept[:2], kept[2:]]))
    monkeypatch.setattr(models_topic_watch, "PartitionReader", lambda *_, **__: reader)
    followed: list[bytes | None] = []
    done = threading.Event()

    def follow(record: Any) -> None:
        followed.append(record.value())
        if record.value() == b"5":
            watch.stop()
            done.set()

    failures: list[BaseException] = []
    watch = ModelsTopicWatch(Settings(worker_id="w"), follow, failures.append)
    with caplog.at_level(logging.INFO):
        watch.begin("the old id")
        assert done.wait(240), failures
    assert followed == [b"2", b"3", b"4", b"5"]
    # The first attempt failed and left nothing open; the second goes on after what it has read.
    assert [consumer.closed for consumer in consumers] == [True, False]
    assert consumers[1].assigned == [(0, 3)]
    # Until then Faust's records counted.
    assert read_before[:5] == [False] * 5
    said = [record.getMessage() for record in caplog.records]
    assert sum("the topic models cannot be asked for" in line for line in said) == 1
    assert sum("the topic models was made anew" in line for line in said) == 1
    assert not failures


def test_a_broker_without_ids_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(models_topic_watch, "AdminClient", asked.append)
    watch = ModelsTopicWatch(Settings(), lambda record: None, lambda error: None)
    watch.begin("")
    assert not watch._thread.is_alive()
    assert not watch.reads
    assert asked == []
