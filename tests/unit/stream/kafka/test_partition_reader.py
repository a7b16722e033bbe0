from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, TopicPartition

from model.errors import NextclickError
from stream.kafka.partition_reader import PartitionReader, Ranges


def record(number: int, offset: int) -> SimpleNamespace:
    return message(number, offset, None)


def message(number: int, offset: int, error: int | None) -> SimpleNamespace:
    found = None if error is None else KafkaError(error)
    return SimpleNamespace(error=lambda: found, partition=lambda: number, offset=lambda: offset)


def end_of_log(number: int, offset: int) -> SimpleNamespace:
    return message(number, offset, KafkaError._PARTITION_EOF)


class Answers:
    """A consumer that answers `consume` with these batches, then with nothing."""

    def __init__(self, batches: Sequence[Sequence[SimpleNamespace]]) -> None:
        self._batches = list(batches)
        self.asked: list[int] = []
        self.assigned: list[tuple[int, int]] = []
        self.paused: list[int] = []

    def consume(self, count: int, timeout: float) -> list[SimpleNamespace]:
        self.asked.append(count)
        return list(self._batches.pop(0)) if self._batches else []

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [(place.partition, place.offset) for place in places]

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused += [place.partition for place in places]

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused = [n for n in self.paused if n not in {place.partition for place in places}]

    def unassign(self) -> None:
        self.assigned = []


def unread(why: str, left: Ranges) -> Exception:
    return NextclickError(f"{why}, left {dict(left)}", "", "")


def offsets(
    batches: Sequence[Sequence[SimpleNamespace]], ranges: Ranges, **rest: Any
) -> list[tuple[int, int]]:
    consumer = Answers(batches)
    reader = PartitionReader(cast("Any", consumer), "t", unread, **rest)
    found = [(m.partition(), m.offset()) for batch in reader.read(ranges) for m in batch]
    assert (consumer.assigned, consumer.paused) == ([], [])
    return cast("list[tuple[int, int]]", found)


def test_each_record_of_every_range_is_read_once_and_none_beyond() -> None:
    batches = [
        [record(0, 3), record(1, 0), record(0, 4)],
        [record(0, 5), record(0, 6), record(1, 1), record(1, 2)],
    ]
    assert offsets(batches, {0: (3, 5), 1: (0, 2), 2: (7, 7)}) == [(0, 3), (1, 0), (0, 4), (1, 1)]


def test_last_offsets_without_records_end_a_range_too() -> None:
    assert offsets([[record(0, 0)], [end_of_log(0, 4)]], {0: (0, 4)}) == [(0, 0)]
    assert offsets([[record(0, 0), record(0, 9)]], {0: (0, 4)}) == [(0, 0)]


def test_the_end_of_the_log_of_a_new_leader_ends_nothing_before_the_range_is_read() -> None:
    batches = [[record(0, 0)], [end_of_log(0, 1)], [record(0, 1)]]
    assert offsets(batches, {0: (0, 2)}) == [(0, 0), (0, 1)]


def test_reading_waits_for_no_more_records_than_there_are() -> None:
    consumer = Answers([[record(0, 0)], [record(0, 1), record(0, 2)]])
    list(PartitionReader(cast("Any", consumer), "t", unread, batch_records=2).read({0: (0, 3)}))
    assert consumer.asked == [2, 2]


def test_a_transient_error_passes_and_any_other_ends_the_reading() -> None:
    batches = [[message(-1, -1, KafkaError._ALL_BROKERS_DOWN)], [record(0, 0)]]
    assert offsets(batches, {0: (0, 1)}) == [(0, 0)]
    with pytest.raises(NextclickError, match=r"left {0: \(0, 1\)}"):
        offsets(batches, {0: (0, 1)}, passes=lambda error: False)
    with pytest.raises(NextclickError, match=r"left {0: \(1, 2\)}"):
        offsets([[record(0, 0), message(0, 1, KafkaError.TOPIC_AUTHORIZATION_FAILED)]], {0: (0, 2)})


def test_silence_ends_the_reading() -> None:
    with pytest.raises(NextclickError, match=r"nothing came for 0 s, left {0: \(1, 2\)}"):
        offsets([[record(0, 0)]], {0: (0, 2)}, silence_s=0.0)
