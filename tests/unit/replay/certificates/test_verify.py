import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Message

from model.errors import NextclickError
from replay.certificates import verify
from replay.certificates.certificate import EVENTS, Certificate, Certifier, digests_path, read_certificate
from replay.certificates.verify import Verification, compare
from stream.settings import Settings

PARTITIONS = 2
RECORDS = [(f"s{n % 37}".encode(), 1_000 + n, f"value {n}".encode()) for n in range(9_000)]
FIRST_OFFSETS = [5, 70]


class Record(NamedTuple):
    """Stands for a message."""

    place: int
    record: tuple[bytes, int, bytes]

    def offset(self) -> int:
        return self.place

    def key(self) -> bytes:
        return self.record[0]

    def timestamp(self) -> tuple[int, int]:
        return 1, self.record[1]

    def value(self) -> bytes:
        return self.record[2]


class Log:
    """Stands for a topic: by partition, its records by offset, and the offset behind its last."""

    def __init__(self, partitions: list[list[Record]]) -> None:
        self.partitions = partitions
        self.ends = [rows[-1].place + 1 for rows in partitions]
        self.firsts = list(FIRST_OFFSETS)

    def bounds(self) -> list[tuple[int, int]]:
        return list(zip(self.firsts, self.ends, strict=True))

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        rows = [row for row in self.partitions[partition] if first <= row.place < end]
        for start in range(0, len(rows), 700):
            yield cast("list[Message]", rows[start : start + 700])


def numbered(records: list[Any], first: int) -> list[Record]:
    return [Record(first + n, record) for n, record in enumerate(records)]


def sent() -> list[list[Any]]:
    """The records by partition, as Kafka's clients place them."""
    rows: list[list[Any]] = [[], []]
    for record in RECORDS:
        rows[(murmur2(record[0]) & 0x7FFFFFFF) % PARTITIONS].append(record)
    return rows


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Certificate, Path]:
    certifier = Certifier(tmp_path / "sent.json", "events", FIRST_OFFSETS, "an id")
    for record in RECORDS:
        certifier.add(*record)
    return certifier.finish(), tmp_path / "sent.json"


def held_against(certified: tuple[Certificate, Path], log: Log) -> Verification:
    return compare(log, *certified, lambda done, total: None)


def log_of(rows: list[list[Any]]) -> Log:
    return Log([numbered(records, first) for records, first in zip(rows, FIRST_OFFSETS, strict=True)])


def swapped(rows: list[Any]) -> list[Any]:
    return [*rows[:200], rows[201], rows[200], *rows[202:]]


def test_what_was_sent_holds_with_the_digests_and_without(certified: tuple[Certificate, Path]) -> None:
    result = held_against(certified, log_of(sent()))
    assert result.holds
    assert result.same_multiset
    assert result.found == result.records == len(RECORDS)
    assert (result.first_event_time_ms, result.last_event_time_ms) == (1_000, 9_999)
    digests_path(certified[1]).unlink()
    assert held_against(certified, log_of(sent())).holds


@pytest.mark.parametrize(
    ("change", "row", "multiset"),
    [
        (lambda rows: [*rows[:200], (*rows[200][:2], b"other"), *rows[201:]], 200, False),
        (lambda rows: [*rows[:200], (rows[200][0], 7, rows[200][2]), *rows[201:]], 200, False),
        (lambda rows: [*rows[:200], (b"s", *rows[200][1:]), *rows[201:]], 200, False),
        (lambda rows: [*rows[:2_100], *rows[2_101:]], 2_100, False),
        (lambda rows: [*rows[:200], rows[199], *rows[200:]], 200, False),
        (lambda rows: rows[:1_500], 1_500, False),
        (swapped, 200, True),
    ],
    ids=["value", "time", "key", "lost", "repeated", "cut off", "another order"],
)
def test_the_first_difference_is_told_by_its_offset(
    certified: tuple[Certificate, Path],
    change: Callable[[list[Any]], list[Any]],
    row: int,
    multiset: bool,
) -> None:
    whole = sent()
    log = log_of([whole[0], change(whole[1])])
    result = held_against(certified, log)
    assert [(found.partition, found.offset) for found in result.differences] == [(1, 70 + row)]
    assert result.same_multiset == multiset
    digests_path(certified[1]).unlink()
    blind = held_against(certified, log)
    assert [found.partition for found in blind.differences] == [1]


def test_an_offset_without_a_record_is_told(certified: tuple[Certificate, Path]) -> None:
    log = log_of(sent())
    for place in (5 + 1_234, log.partitions[0][-1].place):
        log.partitions[0] = [row for row in log.partitions[0] if row.place != place]
        (difference,) = held_against(certified, log).differences
        assert difference.offset == 5 + 1_234
        assert "no record" in difference.what


def test_a_last_record_that_is_gone_is_told(certified: tuple[Certificate, Path]) -> None:
    log = log_of(sent())
    last = log.partitions[0].pop()
    (difference,) = held_against(certified, log).differences
    assert (difference.partition, difference.offset) == (0, last.place)


def test_a_log_that_begins_later_is_told(certified: tuple[Certificate, Path]) -> None:
    log = log_of(sent())
    log.firsts[1] = 90
    (difference,) = held_against(certified, log).differences
    assert (difference.partition, difference.offset) == (1, 70)
    assert "begins at offset 90" in difference.what


def test_other_partitions_are_told(certified: tuple[Certificate, Path]) -> None:
    log = log_of(sent())
    log.partitions.append([])
    log.ends.append(0)
    log.firsts.append(0)
    (difference,) = held_against(certified, log).differences
    assert "3 partitions, 2 are certified" in difference.what


def test_digests_of_another_certificate_do_not_speak_against_what_holds(
    certified: tuple[Certificate, Path], tmp_path: Path
) -> None:
    other = Certifier(tmp_path / "other.json", "events", FIRST_OFFSETS)
    other.add_all([b"x"] * 5_000, [7] * 5_000, [b"other"] * 5_000)
    other.finish()
    digests_path(tmp_path / "other.json").replace(digests_path(certified[1]))
    assert held_against(certified, log_of(sent())).holds


def test_a_certificate_outlives_one_that_is_given_up_in_its_place(
    certified: tuple[Certificate, Path], tmp_path: Path
) -> None:
    before = digests_path(certified[1]).read_bytes()
    other = Certifier(certified[1], "events", FIRST_OFFSETS)
    other.add_all([b"x"] * 5_000, [7] * 5_000, [b"other"] * 5_000)
    other.close()
    assert digests_path(certified[1]).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sent.json", "sent.json.digests"]


def test_where_no_certificate_can_be_written_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match=r"the certificate .*c\.json\.digests cannot be"):
        Certifier(tmp_path / "nowhere" / "c.json", "events", FIRST_OFFSETS)


@pytest.mark.parametrize(("now", "same"), [("an id", True), ("a new id", False), ("", None)])
def test_verify_says_whether_the_topic_is_the_certified_one(
    certified: tuple[Certificate, Path], monkeypatch: pytest.MonkeyPatch, now: str, same: bool | None
) -> None:
    log = Log([numbered(rows, first) for rows, first in zip(sent(), FIRST_OFFSETS, strict=True)])
    monkeypatch.setattr(verify, "TopicReader", lambda settings, topic: nullcontext(log))
    monkeypatch.setattr(verify, "topic_id", lambda settings, topic: now)
    result = verify.verify(Settings(), *certified)
    assert (result.holds, result.same_topic, result.topic_id) == (True, same, now)


def test_a_certificate_from_before_ids_were_kept_is_of_an_unknown_topic(
    certified: tuple[Certificate, Path],
) -> None:
    certificate, path = certified
    assert read_certificate(path, EVENTS) == certificate
    assert read_certificate(path, EVENTS, "another").topic_id == ""
    kept = json.loads(path.read_text())
    assert kept.pop("topic_id") == "an id"
    path.write_text(json.dumps(kept))
    assert read_certificate(path, EVENTS) == dataclasses.replace(certificate, topic_id="")
