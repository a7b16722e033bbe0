"""One part of an archive while it is written: buffered, written under a temporary name, made durable.

The buffer bounds the memory: a row group is written as soon as it is full. A part that is not
published does not count; its records are read again from Kafka.

Tested by tests/unit/stream/event_log/test_archive_folder.py and tests/faults/test_archive.py.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_folder import ArchiveFolder, Part
from stream.event_log.columns import RECORD_COLUMNS, Record, record_columns
from stream.failpoints import reach

ROW_GROUP_RECORDS = 65_536
ROW_GROUP_BYTES = 16 << 20
# Records that become columns at a time; RECORD_BYTES is a record's memory beside its key and value.
PACK_RECORDS = 4_096
PACK_BYTES = 2 << 20
RECORD_BYTES = 200
OFFSET = RECORD_COLUMNS.get_field_index("offset")
T = TypeVar("T")


class _Sink(io.RawIOBase):
    """The Parquet writer writes into memory, so that disk errors occur in this module only."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._total = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        self._total += len(self._chunks[-1])
        return len(self._chunks[-1])

    def tell(self) -> int:
        return self._total

    def pop_written(self) -> bytes:
        """The bytes written since the last call."""
        written = b"".join(self._chunks)
        self._chunks.clear()
        return written


class OpenPart:
    """The records of one partition from `first` on; `end` is the offset after the last one."""

    def __init__(
        self,
        folder: ArchiveFolder,
        partition: int,
        first: int,
        now_s: float,
        decoder: EventDecoder = OWN_EVENTS,
    ) -> None:
        self.partition = partition
        self.first = self.end = first
        self.began_s = now_s
        self.count = 0
        self.buffered_bytes = 0
        self._folder = folder
        self._decoder = decoder
        self._path = folder.unfinished(partition)
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._packed: list[pa.Table] = []
        self._rows = 0
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(
            self._sink, RECORD_COLUMNS, compression="zstd", sorting_columns=[pq.SortingColumn(OFFSET)]
        )
        try:
            self._file = self._path.open("xb", buffering=0)
        except OSError as error:
            raise unwritable(self._path, error) from None

    def add(self, record: Record) -> None:
        """Add the next record. Raises NextclickError when a row group cannot be written."""
        self._waiting.append(record)
        self.end = record.offset + 1
        self.count += 1
        size = RECORD_BYTES + len(record.key or b"") + len(record.value or b"")
        self._waiting_bytes += size
        self.buffered_bytes += size
        if len(self._waiting) >= PACK_RECORDS or self._waiting_bytes >= PACK_BYTES:
            self._pack()
        if self._rows >= ROW_GROUP_RECORDS or self.buffered_bytes >= ROW_GROUP_BYTES:
            self.write_group()

    def _pack(self) -> None:
        """Turn the waiting records into columns, which need a third of the memory."""
        if self._waiting:
            self._packed.append(record_columns(self.partition, self._waiting, self._decoder))
            self._rows += len(self._waiting)
            self.buffered_bytes += self._packed[-1].nbytes - self._waiting_bytes
            self._waiting, self._waiting_bytes = [], 0

    def write_group(self) -> None:
        """Write the waiting records. Raises NextclickError when the disk cannot be written."""
        self._pack()
        columns = pa.concat_tables([RECORD_COLUMNS.empty_table(), *self._packed])
        self._writer.write_table(columns, row_group_size=ROW_GROUP_RECORDS)
        self._packed, self._rows, self.buffered_bytes = [], 0, 0
        self._discard_on_error(self._write_out)

    def publish(self) -> Part:
        """Write the rest, make the file durable, and name it. Raises NextclickError when that fails."""
        self.write_group()
        self._writer.close()
        self._discard_on_error(self._make_durable)
        return self._discard_on_error(
            lambda: self._folder.publish(self._path, self.partition, self.first, self.end)
        )

    def _write_out(self) -> None:
        unwritten = memoryview(self._sink.pop_written())
        while unwritten:
            unwritten = unwritten[self._file.write(unwritten) :]

    def _make_durable(self) -> None:
        self._write_out()
        reach("archive-2-written")
        os.fsync(self._file.fileno())
        self._file.close()
        reach("archive-3-durable")

    def discard(self) -> None:
        """Remove the part; Kafka still has its records."""
        self._waiting, self._packed = [], []
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _discard_on_error(self, write: Callable[[], T]) -> T:
        """The result of `write`; after a disk error the part is discarded, since it does not count."""
        try:
            return write()
        except OSError as error:
            self.discard()
            raise unwritable(self._path, error) from None


def unwritable(path: Path, error: OSError) -> NextclickError:
    """The error of a disk that cannot be written."""
    return NextclickError(
        f"the archive {path} cannot be written: {error.strerror or error}",
        "The disk is full or without rights. Nothing half-written counts; Kafka still has the events.",
        "Make room, then start the archiver again: it goes on where the newest part ends.",
    )
