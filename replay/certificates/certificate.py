"""A certificate: counts and hashes of what was sent, to be compared with what a topic holds.

A file of shortened digests beside it (8 bytes a record) gives the offset of a difference. The hashes
reveal accidents: loss, repeats, changes, another order. They are not a signature: a writer of the
topic can also write the certificate.

Tested by tests/unit/replay/certificates/test_verify.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from model.durable import replace_durably
from model.errors import NextclickError
from replay.certificates.digests import DIGEST_BYTES, DigestFile, RecordSums, record_digest, writing
from stream.kafka.topic_id import UNKNOWN, topic_id
from stream.kafka.topic_reader import TopicReader
from stream.settings import Settings

FORMAT = 1
BATCH_RECORDS = 4096
EVENTS, LISTS = "events", "recommendations"


@dataclass(frozen=True)
class CertifiedPartition:
    """The certified records of a partition; `sha256` is over their digests in offset order."""

    partition: int
    first_offset: int
    records: int
    sha256: str

    @property
    def end_offset(self) -> int:
        """The offset after the last record."""
        return self.first_offset + self.records


@dataclass(frozen=True)
class Certificate:
    """Counts and hashes of all records. `kind` is EVENTS or LISTS; `about` says how they were made.

    `topic_id` is the id of the topic that holds them, "" where it is not known.
    """

    kind: str
    topic: str
    records: int
    first_event_time_ms: int | None
    last_event_time_ms: int | None
    multiset_sha256: str
    partitions: list[CertifiedPartition]
    about: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    topic_id: str = UNKNOWN

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically. Raises NextclickError when it cannot be written."""
        written = msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2) + b"\n"
        with writing(path):
            replace_durably(path, written, path.with_name(f".{path.name}"))


def digests_path(path: Path) -> Path:
    """The path of the digest file of the certificate at `path`.

    >>> digests_path(Path("sent.json")).name
    'sent.json.digests'
    """
    return path.with_name(f"{path.name}.digests")


def read_certificate(path: Path, kind: str, topic: str | None = None) -> Certificate:
    """Read a certificate of this kind; `topic` replaces the topic in it.

    Raises NextclickError when it is missing, unreadable, or of another kind or format.
    """
    try:
        certificate = msgspec.json.decode(path.read_bytes(), type=Certificate)
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise NextclickError(
            f"the certificate {path} cannot be read: {why}",
            "There is nothing to hold the records against.",
            "Name the file that --certificate wrote.",
        ) from None
    if certificate.format != FORMAT or certificate.kind != kind:
        raise NextclickError(
            f"{path} is a certificate of {certificate.kind}, format {certificate.format}",
            f"One of {kind}, format {FORMAT}, was expected.",
            "`replay --certificate` certifies events, `certify --certificate` recommendations.",
        )
    if topic is None or topic == certificate.topic:
        return certificate
    return replace(certificate, topic=topic, topic_id=UNKNOWN)


class Certifier:
    """Is given every record in the order of sending, and writes the certificate at the end.

    A partition's records must be in the topic from its first offset on, without gaps. A resumed
    replay also adds the events that its earlier runs sent, so that one certificate covers all runs.
    """

    def __init__(self, path: Path, topic: str, first_offsets: Sequence[int], topic_id: str = UNKNOWN) -> None:
        self._path = path
        self._topic = topic
        self._topic_id = topic_id
        self._first_offsets = list(first_offsets)
        self._sums = RecordSums(len(first_offsets))
        self._digests = DigestFile(digests_path(path))
        self._keys: list[bytes] = []
        self._times_ms: list[int] = []
        self._values: list[bytes] = []
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def add(self, key: bytes, time_ms: int, value: bytes) -> None:
        """Add the next record; `time_ms` is its message timestamp."""
        self._keys.append(key)
        self._times_ms.append(time_ms)
        self._values.append(value)
        if len(self._keys) >= BATCH_RECORDS:
            self._flush_batch()

    def add_all(self, keys: Sequence[bytes], times_ms: Sequence[int], values: Sequence[bytes]) -> None:
        """Add the next records, in order."""
        self._keys.extend(keys)
        self._times_ms.extend(times_ms)
        self._values.extend(values)
        if len(self._keys) >= BATCH_RECORDS:
            self._flush_batch()

    def continue_at(self, next_offsets: Mapping[int, int]) -> None:
        """Set the offset at which each partition continues after the records added so far.

        A resumed replay calls it after it has added the events that its earlier runs sent.
        """
        self._flush_batch()
        self._first_offsets = [
            next_offsets[number] - self._sums.counts[number] for number in range(len(self._first_offsets))
        ]

    def finish(self, about: Mapping[str, Any] | None = None) -> Certificate:
        """Write the certificate of all records added. Returns it."""
        self._flush_batch()
        self._digests.finish()
        certificate = Certificate(
            EVENTS,
            self._topic,
            sum(self._sums.counts),
            self._first_ms,
            self._last_ms,
            self._sums.multiset,
            [
                CertifiedPartition(number, first, self._sums.counts[number], self._sums.ordered(number))
                for number, first in enumerate(self._first_offsets)
            ],
            dict(about or {}),
            topic_id=self._topic_id,
        )
        certificate.write(self._path)
        return certificate

    def close(self) -> None:
        """Discard what `finish` has not written."""
        self._digests.close()

    def _flush_batch(self) -> None:
        if not self._keys:
            return
        # Imported here: its compiler takes 60 MB, which a replay without a certificate does not need.
        from stream.kafka.batch_partitioner import partitions_of

        digests = b"".join(map(record_digest, self._keys, self._times_ms, self._values))
        rows = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
        partitions = partitions_of(self._keys, len(self._first_offsets))
        for number in np.unique(partitions).tolist():
            self._sums.add(number, rows[partitions == number].tobytes())
        self._digests.write(partitions, digests)
        earliest, latest = min(self._times_ms), max(self._times_ms)
        self._first_ms = earliest if self._first_ms is None else min(self._first_ms, earliest)
        self._last_ms = latest if self._last_ms is None else max(self._last_ms, latest)
        for column in (self._keys, self._times_ms, self._values):
            column.clear()


def start_certificate(settings: Settings, path: Path) -> Certifier:
    """A certifier of what will be sent to the events topic after the records it holds now."""
    with TopicReader(settings, settings.events_topic) as reader:
        ends = [high for _, high in reader.bounds()]
    return Certifier(path, settings.events_topic, ends, topic_id(settings, settings.events_topic))
