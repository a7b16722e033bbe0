"""A window of the event log, from Kafka or an archive, as a frame to learn from.

A window is chosen by event time, by offsets, or as the newest events. It names the offsets that it
covers, so that a model can name what it learned from and the next window can go on there.
Both sources give the same window of the same records.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_reader import ArchivedEvents
from stream.event_log.columns import COLUMNS, EVENT
from stream.event_log.kafka_reader import KafkaEvents
from stream.events import FORGET, LEFT_OUT_REASONS, NOT_LEARNED, OPTIONAL_FIELDS
from stream.kafka.partition_reader import Ranges
from stream.kafka.topic_id import UNKNOWN
from stream.settings import Settings

# As the end of a range of offsets: the end of the log at the time of the call.
LOG_END = -1
# Records of each partition that are read first when the newest events are wanted.
LEAST_BACK = 1_000
ORDER = [("event_time_ms", "ascending"), ("partition", "ascending"), ("offset", "ascending")]


class EventSource(Protocol):
    """A source of events: Kafka, or an archive."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """By partition: the first offset, and the one after the last."""

    def first_at(self, time_ms: int, ranges: Ranges) -> dict[int, int]:
        """By partition: the first offset of its range with a message time from `time_ms` on, else its end."""

    def read(self, ranges: Ranges, keep: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """The records of the ranges, in chunks of COLUMNS filtered by `keep`."""

    def topic_id(self) -> str:
        """The id of the topic that the events are of."""

    def close(self) -> None:
        """Close the connection or the files."""


@dataclass(frozen=True)
class EventWindow:
    """Events of the log with the offsets they come from.

    `frame` has session_id, item_id, event_time_ms and kind; user_id, price, brand, category
    and title where any event has one; partition and offset. Rows are in event-time order,
    equal times by partition and offset. A row of kind session_end ends its session and has no
    item: `Sessions` and `Vocabulary` treat it so.

    `offsets` has each partition's [first, end): no event of the window lies outside it, and
    the next window goes on at `end`. `rejected` counts the records in it that are no events, `left_out`
    those that the mapping of a topic of one's own takes for none, as it should. `topic_id` is the id of the
    topic, without which the offsets mean nothing; UNKNOWN where it is not known.
    """

    frame: pd.DataFrame
    offsets: dict[int, tuple[int, int]]
    rejected: Counter[str]
    topic_id: str = UNKNOWN
    left_out: Counter[str] = field(default_factory=Counter)


def read_window(
    settings: Settings,
    *,
    from_ms: int | None = None,
    until_ms: int | None = None,
    newest_events: int | None = None,
    offsets: dict[int, tuple[int, int]] | None = None,
    archive: Path | None = None,
    decoder: EventDecoder = OWN_EVENTS,
) -> EventWindow:
    """The `newest_events` events from `from_ms` up to `until_ms` (event time), in `offsets`.

    A bound that is None does not bound; the log ends where it does at the call. `offsets` has
    [first, end) by partition, other partitions are not read; LOG_END as end is the log's end. Events further
    ahead of the wall clock than `max_future_s`, or before `min_event_time_ms`, are rejected, as by the
    worker. Reads Kafka by `decoder`, or the
    `archive` folder that `nextclick archive` writes; reads no more of the log than the window
    needs, if no message time is before its event time. Raises NextclickError when the
    source cannot be read or lacks some of `offsets`.
    """
    if newest_events is not None and newest_events < 1:
        raise ValueError(f"newest_events is {newest_events}, not at least 1")
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        raise ValueError(f"the window ends at {until_ms}, not after its begin at {from_ms}")
    latest_ms = int((time.time() + settings.max_future_s) * 1000)
    times = WindowTimes(from_ms, until_ms, latest_ms, settings.min_event_time_ms)
    source: EventSource = (
        KafkaEvents(settings, decoder) if archive is None else ArchivedEvents(archive, times.expression())
    )
    with closing(source):
        ranges = _chosen(source.bounds(), offsets, archive or settings.events_topic)
        window = _WindowRows(source, times)
        if from_ms is not None:
            first = source.first_at(from_ms, ranges)
            ranges = {number: (first[number], end) for number, (_, end) in ranges.items()}
        if newest_events is not None:
            ranges = window.read_back(newest_events, ranges)
        else:
            window.read(ranges)
        topic_id = source.topic_id()
    return replace(window.result(ranges, newest_events), topic_id=topic_id)


def _chosen(
    bounds: dict[int, tuple[int, int]], offsets: dict[int, tuple[int, int]] | None, name: object
) -> dict[int, tuple[int, int]]:
    """The ranges in `offsets`, or all. Raises NextclickError when the log does not have them."""
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


@dataclass(frozen=True)
class WindowTimes:
    """The times of a window; later than `latest_ms` is rejected as future, before `earliest_ms` as past."""

    from_ms: int | None
    until_ms: int | None
    latest_ms: int
    earliest_ms: int

    def expression(self) -> pc.Expression:
        """True for the rows of the window and for rejected ones."""
        time_ms = pc.field("event_time_ms")
        inside = time_ms >= (self.from_ms or 0)
        if self.until_ms is not None:
            inside &= time_ms < self.until_ms
        return (
            inside
            | (pc.field("kind") == FORGET)
            | pc.is_valid(pc.field("reason"))
            | (time_ms > self.latest_ms)
            | (time_ms < self.earliest_ms)
        )

    def keep(self, table: pa.Table) -> pa.Table:
        """The rows of the window and the rejected ones, with those of the future and the past rejected."""
        table = table.filter(self.expression())
        # Dismissals are no events to learn from; those of forgetting are needed until the window is whole.
        kinds = pa.array([kind for kind in NOT_LEARNED if kind != FORGET])
        table = table.filter(pc.invert(pc.is_in(table["kind"], kinds)))
        times_ms = table["event_time_ms"]
        future, past = pc.greater(times_ms, self.latest_ms), pc.less(times_ms, self.earliest_ms)
        for reason, where in (("future", future), ("past", past)):
            is_rejected = pc.and_(pc.fill_null(where, False), pc.is_null(table["reason"]))
            if pc.any(is_rejected).as_py():
                reasons = pc.if_else(is_rejected, pa.scalar(reason, pa.large_string()), table["reason"])
                column = table.schema.get_field_index("reason")
                table = table.set_column(column, COLUMNS.field("reason"), reasons)
        return table


class _WindowRows:
    """The rows of a window while it is read: events within its times, and rejected records."""

    def __init__(self, source: EventSource, times: WindowTimes) -> None:
        self._source = source
        self._times = times
        self._tables = [COLUMNS.empty_table()]

    def read(self, ranges: Ranges) -> None:
        """Read the rows of more ranges."""
        self._tables += self._source.read(ranges, self._times.keep)

    def read_back(self, wanted: int, ranges: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
        """Read the newest `wanted` events of the ranges. Returns the ranges that hold them.

        Reads backwards from the end in steps that double, until there are enough events. The oldest
        of the newest gives the time from which the log has to be read.
        """
        begins = {number: end for number, (_, end) in ranges.items()}
        if self._times.until_ms is not None:
            begins = self._source.first_at(self._times.until_ms, ranges)
        self.read({number: (begins[number], end) for number, (_, end) in ranges.items()})
        step = max(LEAST_BACK, -(-wanted // max(1, len(ranges))))
        while len(times := self._event_times()) < wanted and any(
            begins[n] > low for n, (low, _) in ranges.items()
        ):
            begins = self._read_from({n: begin - step for n, begin in begins.items()}, begins, ranges)
            step *= 2
        if len(times) < wanted:
            return ranges
        self._read_from(self._source.first_at(_oldest(times, wanted), ranges), begins, ranges)
        # Late events that were read by now may have made the newest ones newer.
        first = self._source.first_at(_oldest(self._event_times(), wanted), ranges)
        return {number: (first[number], end) for number, (_, end) in ranges.items()}

    def _read_from(
        self, first: dict[int, int], begins: dict[int, int], ranges: dict[int, tuple[int, int]]
    ) -> dict[int, int]:
        """Read from `first` to `begins`, where the read rows begin. Returns where they begin now."""
        now = {number: min(begins[number], max(first[number], low)) for number, (low, _) in ranges.items()}
        self.read({number: (now[number], begins[number]) for number in ranges})
        return now

    def _event_times(self) -> npt.NDArray[np.int64]:
        """The event times of the rows so far."""
        parts = [t["event_time_ms"].filter(pc.is_null(t["reason"])).to_numpy() for t in self._tables]
        return np.concatenate(parts)

    def result(self, ranges: dict[int, tuple[int, int]], newest: int | None) -> EventWindow:
        """The rows in `ranges` as a window, the `newest` of them."""
        table = pa.concat_tables(self._tables)
        self._tables.clear()
        if newest is not None:
            table = table.filter(_within(table, ranges))
        table = _without_forgotten(table)
        is_event = pc.is_null(table["reason"])
        counts = table["reason"].filter(pc.invert(is_event)).value_counts().to_pylist()
        columns = [*EVENT, "partition", "offset"]
        if not pc.all(is_event).as_py():
            table = table.filter(is_event)
        table = table.select(
            [name for name in columns if name not in OPTIONAL_FIELDS or table[name].null_count < len(table)]
        )
        order = pc.sort_indices(table, sort_keys=ORDER)
        table = table.take(order if newest is None else order[-newest:])
        none = Counter({row["values"]: row["counts"] for row in counts})
        left_out = Counter({why: none.pop(why) for why in LEFT_OUT_REASONS if why in none})
        frame = table.to_pandas(split_blocks=True, self_destruct=True)
        return EventWindow(frame, dict(ranges), rejected=none, left_out=left_out)


def _without_forgotten(table: pa.Table) -> pa.Table:
    """The rows without what came before the forgetting of its session, and without that."""
    return without_forgotten(table, forgotten_ends(table))


def forgotten_ends(table: pa.Table) -> dict[str, int]:
    """By session that is to be forgotten: the last offset at which its partition says so."""
    forgotten = table.filter(pc.equal(table["kind"], FORGET))
    rows = zip(forgotten["session_id"].to_pylist(), forgotten["offset"].to_pylist(), strict=True)
    return dict(sorted(rows, key=lambda row: row[1]))


def without_forgotten(table: pa.Table, ends: dict[str, int]) -> pa.Table:
    """The rows without those of a session in `ends` up to its offset there."""
    if not ends:
        return table
    sessions = pa.array(list(ends), table["session_id"].type)
    places = pc.fill_null(pc.index_in(table["session_id"], sessions), len(ends)).to_numpy()
    ends_F = np.array([*ends.values(), -1])
    return table.filter(pa.array(table["offset"].to_numpy() > ends_F[places]))


def _oldest(times_ms: npt.NDArray[np.int64], wanted: int) -> int:
    """The time of the oldest of the newest `wanted`."""
    return int(np.partition(times_ms, -wanted)[-wanted])


def _within(table: pa.Table, ranges: Ranges) -> pa.Array:
    """A mask of the rows in the ranges."""
    firsts = np.zeros(max(ranges, default=0) + 1, np.int64)
    for number, (first, _) in ranges.items():
        firsts[number] = first
    return pa.array(table["offset"].to_numpy() >= firsts[table["partition"].to_numpy()])
