"""Event-time order: stable for equal times, within a memory limit.

A log within the limit is sorted in memory. A larger log that is in order already is passed
through as it is read; any other is written to disk as sorted runs, which are merged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from replay.sending.sorted_runs import TIME, SortedRuns

DEFAULT_MEMORY_BYTES = 32 << 20
# Sorting holds the rows three times: as they were read, in one piece, and in order.
COPIES = 3
BLOCK_ROWS = 16_384


def in_event_time_order(
    read: Callable[[], Iterable[pd.DataFrame]],
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    folder: Path | None = None,
    block_rows: int = BLOCK_ROWS,
    known_in_order: Callable[[], bool] = lambda: False,
) -> Iterator[pd.DataFrame]:
    """The rows of the log that `read` gives, in order of event_time_ms; equal times keep their order.

    Each call of `read` starts the log again and gives the same chunks. It is called again only when
    the log does not fit: a log that is in order (`known_in_order`, or else a pass that checks) is
    passed on chunk by chunk; any other is sorted by way of a temporary folder under `folder` (default:
    the system's), which is removed at the end. Memory stays under `memory_bytes` plus one chunk.
    Raises NextclickError when the runs cannot be written.

    >>> log = [pd.DataFrame({TIME: [3, 1]}), pd.DataFrame({TIME: [2]})]
    >>> [frame[TIME].tolist() for frame in in_event_time_order(lambda: log)]
    [[1, 2, 3]]
    """
    gathered: list[pd.DataFrame] = []
    size = 0
    for chunk in _not_empty(read()):
        gathered.append(chunk)
        size += _bytes(chunk)
        if size > memory_bytes // COPIES:
            break
    else:
        if gathered:
            yield from _blocks(_sorted(gathered), block_rows)
        return
    ordered = is_in_order(gathered)
    gathered.clear()
    if ordered and (known_in_order() or is_in_order(read())):
        yield from _not_empty(read())
        return
    with tempfile.TemporaryDirectory(prefix="nextclick-order-", dir=folder) as temporary:
        runs = SortedRuns(Path(temporary), memory_bytes)
        _write_runs(read(), runs, memory_bytes // COPIES)
        yield from runs.merged(block_rows)


def is_in_order(chunks: Iterable[pd.DataFrame]) -> bool:
    """Whether no row is earlier than one before it; stops at the first one that is."""
    last: int | None = None
    for chunk in _not_empty(chunks):
        times = chunk[TIME]
        if (last is not None and times.iloc[0] < last) or not times.is_monotonic_increasing:
            return False
        last = int(times.iloc[-1])
    return True


def _not_empty(chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    return (chunk for chunk in chunks if len(chunk))


def _bytes(chunk: pd.DataFrame) -> int:
    return int(chunk.memory_usage(deep=True).sum())


def _write_runs(chunks: Iterable[pd.DataFrame], runs: SortedRuns, most_bytes: int) -> None:
    gathered: list[pd.DataFrame] = []
    size = 0
    for chunk in _not_empty(chunks):
        gathered.append(chunk)
        size += _bytes(chunk)
        if size > most_bytes:
            runs.write(_sorted(gathered), size)
            gathered.clear()
            size = 0
    if gathered:
        runs.write(_sorted(gathered), size)


def _sorted(chunks: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(chunks, ignore_index=True)
    if frame[TIME].is_monotonic_increasing:
        return frame
    return frame.sort_values(TIME, kind="stable", ignore_index=True)


def _blocks(frame: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    for start in range(0, len(frame), rows):
        yield frame.iloc[start : start + rows]
