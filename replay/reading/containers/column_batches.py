"""Files of columns as record batches: Parquet by row groups, Arrow by its batches, ORC by its stripes.

Knows containers, not events. The first bytes of a file say what it is, not its name. Of an Arrow file the
pages that are read are mapped; of the others one row group or one stripe is in memory.

Tested by tests/cases/test_columnar.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536
# What reading a damaged file raises, or one whose types have no texts.
DAMAGED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, OSError)
MAGIC = {b"PAR1": "parquet", b"ARRO": "arrow", b"ORC": "orc", b"\xff\xff\xff\xff": "arrow stream"}


class ColumnBatches(Protocol):
    """An open file of columns, in `parts` that can be read one by one."""

    schema: pa.Schema
    parts: int

    def part(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of a part with these columns, in the order of the file."""

    def close(self) -> None:
        """Close the file."""


def container_of(path: Path) -> str:
    """Which container of columns a file is; "" for none, and for a file that cannot be opened.

    >>> container_of(Path("/dev/null"))
    ''
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError:
        return ""
    return next((name for magic, name in MAGIC.items() if start.startswith(magic)), "")


def batches(file: ColumnBatches, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of at most BATCH_ROWS rows with these columns, in the order of the file."""
    for number in range(file.parts):
        for batch in file.part(number, columns):
            for first in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(first, BATCH_ROWS)


class ParquetBatches:
    """A Parquet file, by row groups."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self.parts = self._file.metadata.num_row_groups

    def part(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of a row group."""
        yield from self._file.iter_batches(BATCH_ROWS, row_groups=[number], columns=list(columns))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ArrowBatches:
    """A file of Arrow's format for files, which Feather is too."""

    def __init__(self, path: Path) -> None:
        self._source = pa.memory_map(str(path))
        self._reader = pa.ipc.open_file(self._source)
        self.schema = self._reader.schema
        self.parts = self._reader.num_record_batches

    def part(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """One of its batches, whose other columns are not read."""
        yield self._reader.get_batch(number).select(list(columns))

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class ArrowStreamBatches:
    """A file of Arrow's format for streams: one part, which is read from its beginning."""

    parts = 1

    def __init__(self, path: Path) -> None:
        self._source = pa.memory_map(str(path))
        self.schema = pa.ipc.open_stream(self._source).schema

    def part(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All batches."""
        self._source.seek(0)
        for batch in pa.ipc.open_stream(self._source):
            yield batch.select(list(columns))

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class OrcBatches:
    """An ORC file, by stripes."""

    def __init__(self, path: Path) -> None:
        # Imported here: pyarrow is built without ORC for some systems.
        try:
            from pyarrow import orc
        except ImportError as error:
            raise OSError("pyarrow reads no ORC on this system") from error
        self._file = orc.ORCFile(str(path))
        self.schema = self._file.schema
        self.parts = self._file.nstripes

    def part(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """One of its stripes."""
        yield self._file.read_stripe(number, columns=list(columns))

    def close(self) -> None:
        """Nothing is held beside the object."""


CONTAINERS: dict[str, Callable[[Path], ColumnBatches]] = {
    "parquet": ParquetBatches,
    "arrow": ArrowBatches,
    "arrow stream": ArrowStreamBatches,
    "orc": OrcBatches,
}
