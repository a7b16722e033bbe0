"""Event-time order: stable for equal times, within a memory limit.

A log within the limit is sorted in memory. A larger one that is in order already is passed
through as it is read; any other becomes sorted runs on disk, merged by blocks, not by rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

DEFAULT_MEMORY_BYTES = 1 << 30
BLOCK_ROWS = 50_000
TIME = "event_time_ms"


def in_event_time_order(
    read: Callable[[], Iterable[pd.DataFrame]],
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    folder: Path | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[pd.DataFrame]:
    """The rows of the log that `read` gives, in order of event_time_ms; equal times keep their order.

    `read` begins the log anew at each call and gives the same chunks; it is called again only
    when the log is larger than `memory_bytes`: a log in order is then passed on chunk by chunk.
    What is gathered stays under the limit but for one chunk; sorting it takes as much again,
    twice. Runs are written to a temporary folder under `folder` (default: the system's).
    """
    gathered: list[pd.DataFrame] = []
    size = 0
    for chunk in _filled(read()):
        gathered.append(chunk)
        size += _bytes(chunk)
        if size > memory_bytes:
            break
    else:
        if gathered:
            yield from _blocks(_sorted(gathered), block_rows)
        return
    ordered = is_in_order(gathered)
    gathered.clear()
    if ordered and is_in_order(read()):
        yield from _filled(read())
        return
    with tempfile.TemporaryDirectory(prefix="nextclick-order-", dir=folder) as temporary:
        runs = _write_runs(read(), Path(temporary), memory_bytes, block_rows)
        yield from _merge([_Run(path) for path in runs])


def is_in_order(chunks: Iterable[pd.DataFrame]) -> bool:
    """Whether no row is earlier than one before it; reads no further than the first that is."""
    last: int | None = None
    for chunk in _filled(chunks):
        times = chunk[TIME]
        if (last is not None and times.iloc[0] < last) or not times.is_monotonic_increasing:
            return False
        last = int(times.iloc[-1])
    return True


def _filled(chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    return (chunk for chunk in chunks if len(chunk))


def _bytes(chunk: pd.DataFrame) -> int:
    return int(chunk.memory_usage(deep=True).sum())


def _write_runs(
    chunks: Iterable[pd.DataFrame], folder: Path, memory_bytes: int, block_rows: int
) -> list[Path]:
    runs: list[Path] = []
    gathered: list[pd.DataFrame] = []
    size = 0

    def write() -> None:
        runs.append(folder / f"{len(runs)}.arrow")
        _write_run(runs[-1], _sorted(gathered), block_rows)
        gathered.clear()

    for chunk in _filled(chunks):
        gathered.append(chunk)
        size += _bytes(chunk)
        if size > memory_bytes:
            write()
            size = 0
    if gathered:
        write()
    return runs


def _sorted(chunks: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(chunks, ignore_index=True)
    if frame[TIME].is_monotonic_increasing:
        return frame
    return frame.sort_values(TIME, kind="stable", ignore_index=True)


def _blocks(frame: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    for start in range(0, len(frame), rows):
        yield frame.iloc[start : start + rows]


def _write_run(path: Path, frame: pd.DataFrame, block_rows: int) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=block_rows)


class _Run:
    """A sorted run on disk, of which one or more blocks are in memory."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._next = 0
        self.rows: pd.DataFrame | None = None
        self.extend()

    @property
    def exhausted(self) -> bool:
        """Whether every block has been read."""
        return bool(self._next >= self._reader.num_record_batches)

    @property
    def last(self) -> int:
        """The largest time in memory."""
        assert self.rows is not None
        return int(self.rows[TIME].iloc[-1])

    def extend(self) -> None:
        """Read one more block."""
        block = self._reader.get_batch(self._next).to_pandas()
        self._next += 1
        self.rows = block if self.rows is None else pd.concat([self.rows, block], ignore_index=True)

    def take(self, until: int | None) -> pd.DataFrame | None:
        """The rows in memory with a time up to `until` (None: all of them), which leave memory."""
        rows = self.rows
        if rows is None:
            return None
        count = len(rows) if until is None else int(rows[TIME].searchsorted(until, side="right"))
        self.rows = None if count == len(rows) else rows.iloc[count:]
        if self.rows is None and not self.exhausted:
            self.extend()
        return rows.iloc[:count]


def _merge(runs: list[_Run]) -> Iterator[pd.DataFrame]:
    while any(run.rows is not None for run in runs):
        unread = [run for run in runs if not run.exhausted]
        until = min((run.last for run in unread), default=None)
        if until is not None:
            # Equal times must all be in memory, or a later run's would overtake them.
            for run in unread:
                while not run.exhausted and run.last == until:
                    run.extend()
        taken = [part for run in runs if (part := run.take(until)) is not None and len(part)]
        if taken:
            yield _sorted(taken)
