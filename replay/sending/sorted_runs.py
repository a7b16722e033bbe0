"""Sorted runs on disk, merged by blocks instead of rows.

Rows with equal times come in the order of the runs, so that the merge is as stable as the sorting of
each run. One block of every run is in memory; when there are too many runs, groups are merged first.

Tested by tests/unit/replay/sending/test_event_time_order.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from model.errors import NextclickError

TIME = "event_time_ms"
MERGED_AT_ONCE = 128
LEAST_BLOCK_BYTES = 16 << 10
WRITTEN = pa.ipc.IpcWriteOptions(compression="lz4")


class SortedRuns:
    """Sorted runs of a log in `folder`, in the order written; merging stays under `memory_bytes`."""

    def __init__(self, folder: Path, memory_bytes: int, merged_at_once: int = MERGED_AT_ONCE) -> None:
        self._folder = folder
        self._merged_at_once = merged_at_once
        self._block_bytes = max(LEAST_BLOCK_BYTES, memory_bytes // (4 * merged_at_once))
        self._written = 0
        self._paths: list[Path] = []

    def write(self, frame: pd.DataFrame, size: int) -> None:
        """Write a sorted frame of about `size` bytes as the next run."""
        rows = max(1, len(frame) * self._block_bytes // max(1, size))
        table = pa.Table.from_pandas(frame, preserve_index=False)
        self._paths.append(self._save(table.to_batches(max_chunksize=rows), table.schema))

    def merged(self, block_rows: int) -> Iterator[pd.DataFrame]:
        """All rows in order, in frames of about `block_rows` rows. May be called once."""
        while len(self._paths) > self._merged_at_once:
            groups = list(_groups(self._paths, self._merged_at_once))
            # The fewer runs are merged next, the larger their blocks: each small block costs time and memory.
            larger = max(1, self._merged_at_once // len(groups))
            self._paths = [self._merge_group(paths, larger) for paths in groups]
        for table in _merge([_Run(path) for path in self._paths], block_rows):
            yield table.to_pandas()

    def _merge_group(self, paths: list[Path], larger: int) -> Path:
        runs = [_Run(path) for path in paths]
        schema = pa.unify_schemas([run.schema for run in runs], promote_options="permissive")
        rows = larger * max(run.block_rows for run in runs)
        batches = (
            batch
            for table in _merge(runs, rows)
            # A column that is absent in this table is null.
            for batch in pa.concat_tables([schema.empty_table(), table], promote_options="permissive")
            .combine_chunks()
            .to_batches()
        )
        path = self._save(batches, schema)
        for merged in paths:
            merged.unlink()
        return path

    def _save(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Path:
        path = self._folder / f"{self._written}.arrow"
        self._written += 1
        try:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=WRITTEN) as writer:
                for batch in batches:
                    writer.write_batch(batch)
        except OSError as error:
            used = sum(one.stat().st_size for one in self._folder.iterdir())
            raise NextclickError(
                f"sorting ran out of room in {self._folder.parent}, with {used:,} bytes there: {error}",
                "The log is larger than --memory and not in order, so that it is sorted on the disk; "
                "what was written is removed.",
                "Make room, name a larger folder in TMPDIR, or give it more --memory.",
            ) from None
        return path


class _Run:
    """A run with one block in memory."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.OSFile(str(path)))
        self._next = 0
        self._at = 0
        self._block: pa.RecordBatch | None = None
        self._times: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.schema: pa.Schema = self._reader.schema
        self._read()
        self.block_rows = len(self._times)

    @property
    def first(self) -> int | None:
        """The smallest time left; None at the end."""
        return int(self._times[self._at]) if self._block is not None else None

    @property
    def last(self) -> int | None:
        """The largest time in memory when more blocks follow; else None."""
        return int(self._times[-1]) if self._next < self._reader.num_record_batches else None

    def pop_until(self, until: int | None, side: str) -> pa.RecordBatch | None:
        """Remove and return the rows in memory before `until`, or up to it (`side` right); None: all."""
        if self._block is None:
            return None
        end = len(self._times) if until is None else int(self._times.searchsorted(until, side))  # type: ignore[call-overload]
        if end <= self._at:
            return None
        popped = self._block.slice(self._at, end - self._at)
        self._at = end
        if end == len(self._times):
            self._read()
        return popped

    def _read(self) -> None:
        self._at = 0
        if self._next == self._reader.num_record_batches:
            self._block, self._times = None, np.empty(0, np.int64)
            return
        self._block = self._reader.get_batch(self._next)
        self._times = self._block.column(TIME).to_numpy()
        self._next += 1


def _merge(runs: list[_Run], block_rows: int) -> Iterator[pa.Table]:
    parts: list[pa.RecordBatch] = []
    rows = 0
    while runs := [run for run in runs if run.first is not None]:
        # Certain are rows before the smallest last time of a block that another one follows, and rows of that
        # time itself up to the first run whose next block may continue it.
        lasts = [last for run in runs if (last := run.last) is not None]
        until = min(lasts, default=None)
        side = "right"
        for run in runs:
            ends = until is not None and run.last == until
            first = run.first
            if until is None or (first is not None and first <= until):
                popped = run.pop_until(until, side)
                if popped is not None:
                    parts.append(popped)
                    rows += popped.num_rows
            if ends:
                side = "left"
        if rows >= block_rows:
            yield _in_order(parts)
            parts, rows = [], 0
    if parts:
        yield _in_order(parts)


def _in_order(parts: list[pa.RecordBatch]) -> pa.Table:
    table = pa.concat_tables(
        [pa.Table.from_batches([part]) for part in parts], promote_options="permissive"
    ).combine_chunks()
    times = table.column(TIME).to_numpy()
    return table.take(pa.array(np.argsort(times, kind="stable")))


def _groups(paths: list[Path], size: int) -> Iterator[list[Path]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))
