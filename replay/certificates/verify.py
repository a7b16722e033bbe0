"""Compares a topic with its certificate, record by record, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Message

from replay.certificates.certificate import Certificate, CertifiedPartition, digests_path
from replay.certificates.digests import ExpectedDigests, RecordSums, first_difference, record_digest
from stream.kafka.topic_id import UNKNOWN, topic_id
from stream.kafka.topic_reader import TopicReader
from stream.settings import Settings

SHOWN_BYTES = 120


@dataclass(frozen=True)
class RecordDifference:
    """Where a partition first differs from the certificate; `offset` is None when it is not known."""

    partition: int
    offset: int | None
    what: str


@dataclass
class Verification:
    """What was compared. `behind` counts records after the certified ones, which are no difference.

    `same_topic` is whether the topic is the one that was certified, by its id; None where that is not
    known. A topic that was made anew may hold the same records all the same.
    """

    records: int = 0
    found: int = 0
    behind: int = 0
    first_event_time_ms: int | None = None
    last_event_time_ms: int | None = None
    same_multiset: bool = False
    same_topic: bool | None = None
    topic_id: str = UNKNOWN
    differences: list[RecordDifference] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the topic has exactly the certified records, in their order."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """As plain values, with whether it holds."""
        return {"holds": self.holds, **asdict(self)}


def verify(
    settings: Settings,
    certificate: Certificate,
    path: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Read every certified offset of the topic and compare it with the certificate.

    The digest file beside the certificate at `path` gives the offset of the first difference in
    each partition; without it only the partition is known. Raises NextclickError when the topic
    cannot be read.
    """
    with TopicReader(settings, certificate.topic) as reader:
        result = compare(reader, certificate, path, progress)
    result.topic_id = topic_id(settings, certificate.topic)
    if UNKNOWN not in (certificate.topic_id, result.topic_id):
        result.same_topic = certificate.topic_id == result.topic_id
    return result


class Reader(Protocol):
    """Reads the records of a log, as TopicReader does."""

    def bounds(self) -> list[tuple[int, int]]:
        """The first offset of each partition, and the one after its last."""

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """The records with first <= offset < end, in batches."""


def compare(
    reader: Reader, certificate: Certificate, path: Path, progress: Callable[[int, int], None]
) -> Verification:
    """Compare any log with a certificate; see `verify`."""
    result = Verification(records=certificate.records)
    digests = digests_path(path) if digests_path(path).is_file() else None
    sums = RecordSums(len(certificate.partitions))
    bounds = reader.bounds()
    if len(bounds) != len(certificate.partitions):
        what = f"the topic has {len(bounds)} partitions, {len(certificate.partitions)} are certified"
        result.differences.append(RecordDifference(min(len(bounds), len(certificate.partitions)), None, what))
    for certified, (low, high) in zip(certificate.partitions, bounds, strict=False):
        comparison = _Comparison(certified, sums, ExpectedDigests(digests, certified.partition), result)
        first, end = max(certified.first_offset, low), min(certified.end_offset, high)
        if certified.records and first > certified.first_offset:
            what = f"the log begins at offset {low}: what stood before is gone"
            comparison.add_difference(certified.first_offset, what)
        for batch in reader.read(certified.partition, first, end):
            comparison.add(batch)
            progress(result.found, certificate.records)
        comparison.finish(high)
        result.behind += max(0, high - max(certified.first_offset, certified.end_offset))
    result.same_multiset = sums.multiset == certificate.multiset_sha256
    return result


class _Comparison:
    """The comparison of one partition with its certificate."""

    def __init__(
        self,
        certified: CertifiedPartition,
        sums: RecordSums,
        expected: ExpectedDigests,
        result: Verification,
    ) -> None:
        self._certified = certified
        self._sums = sums
        self._expected = expected
        self._result = result
        self._next = certified.first_offset
        self._found: RecordDifference | None = None

    def add_difference(self, offset: int | None, what: str) -> None:
        """Keep the first difference only: after it, all records may be shifted."""
        if self._found is None:
            self._found = RecordDifference(self._certified.partition, offset, what)

    def add(self, batch: list[Message]) -> None:
        """Compare the next records of the topic."""
        digests = b"".join(_digests(batch))
        self._result.found += len(batch)
        self._add_times([message.timestamp()[1] for message in batch])
        self._sums.add(self._certified.partition, digests)
        if self._found is None:
            row = first_difference(digests, self._expected.next(len(batch)))
            hole = self._hole(batch)
            if hole is not None and (row is None or hole <= (batch[row].offset() or 0)):
                self.add_difference(hole, "no record stands here: it was compacted or deleted")
            elif row is not None:
                self.add_difference(batch[row].offset(), f"another record stands here: {_shown(batch[row])}")
        self._next = (batch[-1].offset() or 0) + 1

    def finish(self, high: int) -> None:
        """Compare the hashes after all records were added; `high` is the end offset of the log."""
        certified, number = self._certified, self._certified.partition
        if self._sums.counts[number] < certified.records and high < certified.end_offset:
            self.add_difference(
                max(high, certified.first_offset),
                f"the log ends here, {certified.end_offset - high:,} records short",
            )
        elif self._sums.counts[number] < certified.records:
            self.add_difference(self._next, "no record stands here: it was compacted or deleted")
        if self._sums.ordered(number) == certified.sha256:
            # Then the digest file belongs to another certificate.
            self._found = None
        elif self._found is None:
            self.add_difference(None, "its hash is another one; the file of digests says no offset")
        if self._found is not None:
            self._result.differences.append(self._found)

    def _hole(self, batch: list[Message]) -> int | None:
        """The first offset up to the batch's last that has no record; None when there is none."""
        if (batch[-1].offset() or 0) + 1 - self._next == len(batch):
            return None
        there = {message.offset() for message in batch}
        return next(offset for offset in range(self._next, self._next + len(batch)) if offset not in there)

    def _add_times(self, times_ms: list[int]) -> None:
        result = self._result
        first = result.first_event_time_ms
        last = result.last_event_time_ms
        result.first_event_time_ms = min(times_ms) if first is None else min(first, *times_ms)
        result.last_event_time_ms = max(times_ms) if last is None else max(last, *times_ms)


def _digests(batch: list[Message]) -> Iterator[bytes]:
    for message in batch:
        yield record_digest(message.key() or b"", message.timestamp()[1], message.value() or b"")


def _shown(message: Message) -> str:
    key, value = message.key() or b"", message.value() or b""
    text = value.decode("utf-8", "replace")
    cut = "…" if len(text) > SHOWN_BYTES else ""
    return (
        f"key {key.decode('utf-8', 'replace')!r}, time {message.timestamp()[1]}, {text[:SHOWN_BYTES]!r}{cut}"
    )
