"""A window of the event log, from Kafka or an archive, as a frame to learn from.

A window is by event time, by offsets, or the newest events. It says which offsets it
covers, so that what was learnt from can be named and the next window can go on from there.
Both sources give the same window of the same records.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import NextclickError
from stream.event_columns import COLUMNS, EVENT, OPTIONAL
from stream.event_reader import KafkaEvents, Ranges
from stream.settings import Settings

# As the end of a range of offsets: wherever the log ends at the time of the call.
LOG_END = -1
# Read back first, of each partition, when the newest events are wanted: at least so many records.
LEAST_BACK = 1_000
ORDER = [("event_time_ms", "ascending"), ("partition", "ascending"), ("offset", "ascending")]


class EventSource(Protocol):
    """What holds the events: Kafka, or an archive."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Partition → first offset, and the one behind the last."""

    def first_at(self, time_ms: int, ranges: Ranges) -> dict[int, int]:
        """Partition → the first offset of its range with a message time from `time_ms` on, else its end."""

    def read(self, ranges: Ranges, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """The records of the ranges, in chunks of COLUMNS that went through `keep`."""

    def close(self) -> None:
        """Give up what it holds."""


@dataclass(frozen=True)
class EventWindow:
    """Events of the log with the offsets they come from.

    `frame` has session_id, item_id, event_time_ms and kind; user_id, price, brand, category
    and title where any event has one; partition and offset. Rows are in event-time order,
    equal times by partition and offset. Rows of kind session_end stand where a session was
    ended and are no items: `Sessions` and `Vocabulary` take them as that.

    `offsets` has each partition's [first, end): outside of it no event of the window lies, and
    the next window goes on at `end`. `rejected` counts the records in there that are no events.
    """

    frame: pd.DataFrame
    offsets: dict[int, tuple[int, int]]
    rejected: Counter[str]


def read_window(
    settings: Settings,
    *,
    from_ms: int | None = None,
    until_ms: int | None = None,
    newest_events: int | None = None,
    offsets: dict[int, tuple[int, int]] | None = None,
    archive: Path | None = None,
) -> EventWindow:
    """The events from `from_ms` up to `until_ms` (event time), in `offsets`, the newest so many of them.

    Every bound that is None does not bound; the log ends where it does at the call. `offsets` has
    [first, end) by partition, others are not read; an end of LOG_END is the log's. Events further
    ahead of the wall than `max_future_s` are rejected, as the worker does. Reads Kafka, or the
    `archive` folder that `nextclick archive` has written; of the log no more than the window
    asks for, as long as no message time is before its event's. Raises NextclickError when the
    source cannot be read or lacks some of `offsets`.
    """
    if newest_events is not None and newest_events < 1:
        raise ValueError(f"newest_events is {newest_events}, not at least 1")
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        raise ValueError(f"the window ends at {until_ms}, not after its begin at {from_ms}")
    latest_ms = int((time.time() + settings.max_future_s) * 1000)
    with closing(_open(settings, archive)) as source:
        ranges = _chosen(source.bounds(), offsets, archive or settings.events_topic)
        window = _Reading(source, from_ms, until_ms, latest_ms)
        if from_ms is not None:
            first = source.first_at(from_ms, ranges)
            ranges = {number: (first[number], end) for number, (_, end) in ranges.items()}
        if newest_events is not None:
            ranges = window.read_back(newest_events, ranges)
        else:
            window.read(ranges)
    return window.result(ranges, newest_events)


def _open(settings: Settings, archive: Path | None) -> EventSource:
    if archive is None:
        return KafkaEvents(settings)
    raise NotImplementedError


def _chosen(
    bounds: dict[int, tuple[int, int]], offsets: dict[int, tuple[int, int]] | None, name: object
) -> dict[int, tuple[int, int]]:
    """The ranges that are asked for. Raises NextclickError where the log does not have them."""
    if offsets is None:
        return bounds
    chosen: dict[int, tuple[int, int]] = {}
    for number, (first, asked_end) in sorted(offsets.items()):
        low, high = bounds.get(number, (0, 0))
        end = high if asked_end == LOG_END else asked_end
        if not low <= first <= end <= high and first != end:
            raise NextclickError(
                f"offsets {first} to {end} of partition {number} are asked for, {name} has {low} to {high}",
                "The window would lack events: retention removed them, or the topic was made anew.",
                "Read them from an archive (`nextclick archive`), or ask for offsets that are there.",
            )
        chosen[number] = (first, end)
    return chosen


class _Reading:
    """The rows of a window as they come: events within its times, and what was rejected."""

    def __init__(
        self, source: EventSource, from_ms: int | None, until_ms: int | None, latest_ms: int
    ) -> None:
        self._source = source
        self._until_ms = until_ms
        self._latest_ms = latest_ms
        self._from_ms = from_ms
        self._tables = [COLUMNS.empty_table()]

    def keep(self, table: pa.Table) -> pa.Table:
        """The rows of the window's times, and the rejected ones; what is ahead of the wall is rejected."""
        times = table["event_time_ms"]
        future = pc.fill_null(pc.greater(times, self._latest_ms), False)
        if pc.any(future).as_py():
            column = table.schema.get_field_index("reason")
            reasons = pc.if_else(future, pa.scalar("future", pa.large_string()), table["reason"])
            table = table.set_column(column, COLUMNS.field("reason"), reasons)
        rejected = pc.is_valid(table["reason"])
        inside = pc.is_valid(times)
        if self._from_ms is not None:
            inside = pc.and_(inside, pc.greater_equal(times, self._from_ms))
        if self._until_ms is not None:
            inside = pc.and_(inside, pc.less(times, self._until_ms))
        kept = pc.or_(rejected, pc.fill_null(inside, False))
        return table if pc.all(kept).as_py() else table.filter(kept)

    def read(self, ranges: Ranges) -> None:
        """Take the rows of more ranges in."""
        self._tables += self._source.read(ranges, self.keep)

    def read_back(self, wanted: int, ranges: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
        """Take in what holds the newest `wanted` events of the ranges; → the ranges that do.

        Back from the end in steps that double, until there are enough of them; the oldest of the
        newest is then the time from which on the log has to be read.
        """
        begins = {number: end for number, (_, end) in ranges.items()}
        if self._until_ms is not None:
            begins = self._source.first_at(self._until_ms, ranges)
        self.read({number: (begins[number], end) for number, (_, end) in ranges.items()})
        step = max(LEAST_BACK, -(-wanted // max(1, len(ranges))))
        while len(times := self._times()) < wanted and any(begins[n] > low for n, (low, _) in ranges.items()):
            begins = self._read_from({n: begin - step for n, begin in begins.items()}, begins, ranges)
            step *= 2
        if len(times) < wanted:
            return ranges
        oldest_ms = int(np.partition(times, len(times) - wanted)[len(times) - wanted])
        first = self._source.first_at(oldest_ms, ranges)
        self._read_from(first, begins, ranges)
        return {number: (first[number], end) for number, (_, end) in ranges.items()}

    def _read_from(
        self, first: dict[int, int], begins: dict[int, int], ranges: dict[int, tuple[int, int]]
    ) -> dict[int, int]:
        """Read what lies between `first` and what was read from `begins` on; → where that begins now."""
        now = {number: min(begins[number], max(first[number], low)) for number, (low, _) in ranges.items()}
        self.read({number: (now[number], begins[number]) for number in ranges})
        return now

    def _times(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The event times so far."""
        parts = [t["event_time_ms"].filter(pc.is_null(t["reason"])).to_numpy() for t in self._tables]
        return np.concatenate(parts)

    def result(self, ranges: dict[int, tuple[int, int]], newest: int | None) -> EventWindow:
        """The rows in `ranges` as a window, the newest so many of them."""
        table = pa.concat_tables(self._tables)
        self._tables.clear()
        if newest is not None:
            table = table.filter(_within(table, ranges))
        is_event = pc.is_null(table["reason"])
        counts = table["reason"].filter(pc.invert(is_event)).value_counts().to_pylist()
        columns = [*EVENT, "partition", "offset"]
        if not pc.all(is_event).as_py():
            table = table.filter(is_event)
        table = table.select(
            [name for name in columns if name not in OPTIONAL or table[name].null_count < len(table)]
        )
        order = pc.sort_indices(table, sort_keys=ORDER)
        table = table.take(order if newest is None else order[-newest:])
        rejected = Counter({row["values"]: row["counts"] for row in counts})
        return EventWindow(table.to_pandas(split_blocks=True, self_destruct=True), dict(ranges), rejected)


def _within(table: pa.Table, ranges: Ranges) -> pa.Array:
    """Which rows lie in the ranges."""
    firsts = np.zeros(max(ranges, default=0) + 1, np.int64)
    for number, (first, _) in ranges.items():
        firsts[number] = first
    return pa.array(table["offset"].to_numpy() >= firsts[table["partition"].to_numpy()])
