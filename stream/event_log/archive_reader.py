"""Reads ranges of an archive, by offset, as `KafkaEvents` reads them from Kafka.

Does not read row groups whose statistics exclude the window. Knows no Kafka.

Tested by tests/unit/stream/event_log/test_window.py and tests/integration/test_event_log.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from model.errors import NextclickError
from stream.event_log.archive_folder import ArchiveFolder, Part
from stream.event_log.columns import COLUMNS, RECORD_COLUMNS, Record, record_of
from stream.kafka.partition_reader import Ranges

BATCH_ROWS = 65_536


class ArchivedEvents:
    """An archive as it is now; parts that are added later are not seen."""

    def __init__(self, folder: Path, inside: pc.Expression) -> None:
        """`inside` says which rows a window may need; row groups without such rows are not read."""
        archive = ArchiveFolder(folder)
        self._folder = archive
        self._parts = {number: archive.parts(number) for number in archive.partitions()}
        self._inside = inside

    def close(self) -> None:
        """Nothing is held."""

    def topic_id(self) -> str:
        """The id of the topic that is archived."""
        return self._folder.topic_id()

    def bounds(self) -> dict[int, tuple[int, int]]:
        """By partition: the first archived offset, and the one after the last."""
        return {
            number: (parts[0].first, parts[-1].end) if parts else (0, 0)
            for number, parts in self._parts.items()
        }

    def first_at(self, time_ms: int, ranges: Ranges) -> dict[int, int]:
        """By partition: the first offset of its range with a message time from `time_ms` on, else its end."""
        return {number: self._first_at(time_ms, number, *ranges[number]) for number in ranges}

    def _first_at(self, time_ms: int, number: int, first: int, end: int) -> int:
        for part in self._parts_of(number, first, end):
            with opened(part) as file:
                column = file.schema_arrow.get_field_index("timestamp_ms")
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(column).statistics
                    if statistics is None or not statistics.has_min_max or statistics.max < time_ms:
                        continue
                    rows = file.read_row_group(group, columns=["offset", "timestamp_ms"])
                    rows = rows.filter((pc.field("timestamp_ms") >= time_ms) & (pc.field("offset") >= first))
                    if len(rows):
                        return min(int(rows["offset"][0].as_py()), end)
        return end

    def read(self, ranges: Ranges, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """The records in [first, end) of each partition, each once, in chunks filtered by `keep`."""
        for number, (first, end) in ranges.items():
            parts = self._parts_of(number, first, end)
            if not parts:
                continue
            dataset = ds.dataset([str(part.path) for part in parts], schema=COLUMNS, format="parquet")
            inside = (pc.field("offset") >= first) & (pc.field("offset") < end) & self._inside
            try:
                for batch in dataset.to_batches(
                    filter=inside, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
                ):
                    yield keep(pa.Table.from_batches([batch]))
            except (pa.ArrowInvalid, OSError) as error:
                raise _unreadable(parts[0].path.parent, error) from None

    def _parts_of(self, number: int, first: int, end: int) -> list[Part]:
        return [part for part in self._parts.get(number, []) if part.first < end and part.end > first]


def records(part: Part) -> Iterator[Record]:
    """The records of a part as they were in the log, byte for byte."""
    with opened(part) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=RECORD_COLUMNS.names):
            yield from map(record_of, batch.to_pylist())


def opened(part: Part) -> Any:
    """The file of a part. Raises NextclickError when it is damaged or gone."""
    try:
        return pq.ParquetFile(part.path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(part.path, error) from None


def _unreadable(path: Path, error: Exception) -> NextclickError:
    return NextclickError(
        f"the archive {path} cannot be read: {error}",
        "A file is damaged or gone, so the window would lack events; nothing was made of it.",
        "Restore the file from a backup; or remove it and the later ones of its partition, "
        "and `nextclick archive` writes them again from Kafka.",
    )
