"""What the topic of outcomes has of sessions that are forgotten is found by keys, whatever the values are."""

from collections.abc import Iterator
from typing import Any

from confluent_kafka import TIMESTAMP_CREATE_TIME

from stream.outcomes.outcomes_reader import OutcomesOfSessions, of_sessions


class Record:
    def __init__(self, partition: int, offset: int, key: bytes | str | None, at_ms: int) -> None:
        self._place, self._key, self._at_ms = (partition, offset), key, at_ms

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def key(self) -> bytes | str | None:
        return self._key

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._at_ms


class Topic:
    """By partition the records from an offset on; as in a log of transactions, some offsets hold none."""

    def __init__(self, records: list[list[Record]], ends: list[tuple[int, int]]) -> None:
        self._records, self._ends = records, ends

    def bounds(self) -> list[tuple[int, int]]:
        return self._ends

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Any]]:
        assert first < end, "a reader waits in vain for records of an empty range"
        found = [one for one in self._records[partition] if first <= one.offset() < end]
        yield from ([one] for one in found)


def test_records_of_the_sessions_are_counted_with_the_newest_time_and_the_end_of_each_partition() -> None:
    first = [
        Record(0, 5, b"ann", 10),
        Record(0, 6, b"bob", 99),
        Record(0, 8, "ann", 30),
        Record(0, 9, None, 50),
    ]
    second = [Record(1, 0, b"eve", 20), Record(1, 1, b"\xff", 70)]
    topic = Topic([first, second, []], [(5, 11), (0, 3), (4, 4)])
    found = of_sessions(topic, {"ann", "eve", "nobody"})
    assert found == OutcomesOfSessions(3, {"ann", "eve"}, 30, {0: 9, 1: 1})
    assert of_sessions(topic, {"nobody"}) == OutcomesOfSessions()
