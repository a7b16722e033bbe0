"""The files of a log: events, and the metadata files among them, as event frames.

A frame has the columns session_id, item_id, event_time_ms and kind, and of OPTIONAL_COLUMNS those
that the format, or the metadata beside it, has. A metadata file is known by its content and joined
to the events of its family, wherever it stands among the paths. Memory is bounded by blocks of the
event files plus all metadata.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from model.data.event_filter import ALL_EVENTS, EventFilter
from model.errors import NextclickError
from replay.datasets.detection import (
    LOGGED,
    METADATA,
    check_families,
    check_naming,
    detected_format,
    known_members,
    metadata_format,
    named_format,
    session_gap_of,
)
from replay.datasets.item_metadata import ItemMetadata
from replay.datasets.readable_events import NoEvents, count_reasons, nothing_wanted, readable_events
from replay.mappings.mapped_files import formats_of
from replay.reading.account import FileAccount, skipped_share
from replay.reading.containers.file_chunks import file_chunks
from replay.reading.delimited import BrokenRows, RejectLine
from replay.reading.format import Format
from replay.reading.packed_files import members
from replay.reading.spool import spooled
from replay.reading.time_order import ascending_span
from replay.reading.time_sample import converter_of
from replay.reading.times import TimeUnit
from stream.event_log.archive_folder import is_archive
from stream.event_log.logged_events import LoggedEvents
from stream.log_mapping import LogMapping, parse_mapping
from stream.settings import load_settings

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class EventFiles:
    """The files of a log, and how to read them; a zip of several files stands for all of them.

    A folder of `nextclick archive` stands for its events, and `topic` for those of the events topic.

    `format` names the format of the event files, `columns` says what is what in them, as a mapping or as
    `parse_mapping` reads it (session=…,item=…,time=…); without either the format is detected.
    `on_error` says what a line that cannot be read does: "stop" raises NextclickError with file and
    line; "skip" counts it by reason and skips it; "dlq" also hands it to the reader's `reject_line`;
    "skip=0.9" names the largest share of a file that may be lost, which is half otherwise. Of a file that
    is cut off, "skip" and "dlq" keep the lines before the cut.

    >>> path = Path("/tmp/nextclick-doctest.csv")
    >>> _ = path.write_text("timestamp_ms,session_id,user_id,item_id\\n1506826800026,s1,u1,i1\\n")
    >>> EventFiles([path]).load()["item_id"].tolist()
    ['i1']
    """

    paths: Sequence[Path]
    format: str | None = None
    columns: LogMapping | str | None = None
    on_error: str = "stop"
    wanted: EventFilter = ALL_EVENTS
    topic: LoggedEvents | None = None

    def open(self) -> EventReader:
        """A reader of these files. Raises NextclickError when a format is unknown."""
        return EventReader(self)

    def read(self, rejects: Counter[str] | None = None) -> Iterator[pd.DataFrame]:
        """Event frames of bounded size, in the order of the files; see EventReader.read."""
        yield from self.open().read(rejects)

    def load(self, rejects: Counter[str] | None = None) -> pd.DataFrame:
        """The whole log in event-time order; see EventReader.load."""
        return self.open().load(rejects)


class EventReader:
    """Reads the event files of a log as often as asked; reads its metadata once.

    Rows that are no events by the rules of their format, and events that the filter leaves out, are
    counted as rejects whatever `on_error` says. `reject_line`, if set, is called with each line that
    cannot be read. `accounts` says, by path, what became of the lines of each file read to its end; a
    reading in another process sets `keep_account` to fill it. `times` has the unit of the times of each
    file in which it was seen, with the evidence. `session_gap_s` is the session gap that the mapping of
    the files says, 0: none ends a session; None where it leaves that to the model.
    """

    def __init__(self, files: EventFiles) -> None:
        format, columns = files.format, files.columns
        self.reject_line: RejectLine | None = None
        self.accounts: dict[str, dict[str, int]] = {}
        self.keep_account: Callable[[str, dict[str, int]], None] = self.accounts.__setitem__
        self.times: dict[str, TimeUnit] = {}
        self._events: list[tuple[Path, Format]] = []
        self._metadata: list[tuple[Path, Format]] = []
        self._skip, self._most_unreadable = skipped_share(files.on_error)
        self._wanted = files.wanted
        self._items: dict[str, ItemMetadata] | None = None
        self._metadata_rejects: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        check_naming(format, has_mapping=columns is not None)
        self._logged: dict[Path, LoggedEvents] = {}
        if files.topic is not None:
            self._add_logged(files.topic)
        named = parse_mapping(columns) if isinstance(columns, str) else columns
        for whole in map(spooled, files.paths):
            if is_archive(whole):
                check_naming(format, has_mapping=named is not None, logged=str(whole))
                self._add_logged(LoggedEvents(load_settings(), archive=whole))
            elif named is not None:
                # A text beside the tables of an archive is no part of a log; a part in a folder is.
                may_lack = bool(self._skip) or whole.is_file()
                found, lacking = formats_of(list(members(whole)), named, may_lack=may_lack)
                self._events.extend(found)
                self._unknown.update(f"file without the columns of the mapping: {path}" for path in lacking)
            else:
                known, unknown = known_members(whole, format)
                self._unknown.update(f"file of no known format: {path}" for path in unknown)
                for path in known:
                    self._add(path, format)
        forms = [form for _, form in self._events]
        self.session_gap_s = session_gap_of(forms, named, [logged.session_gap_s for logged in self.logged])
        check_families(self._events, self._metadata)

    @property
    def formats(self) -> dict[str, str]:
        """The name of each file's format, by path."""
        return {str(path): form.name for path, form in (*self._events, *self._metadata)}

    def begin_with_the_earliest(self) -> None:
        """Order the event files by the time of their first event, as monthly files are meant to be.

        Files with equal times keep the order in which they were named. Raises NextclickError as
        `read` does.
        """
        if len(self._events) > 1:
            # Broken lines are skipped here: `read` reports them in their turn.
            reject_line, self.reject_line, self._skip, skip = self.reject_line, None, True, self._skip
            try:
                self._events.sort(key=lambda event: self._first_time_ms(*event))
            finally:
                self.reject_line, self._skip = reject_line, skip

    def _first_time_ms(self, path: Path, form: Format) -> int:
        with closing(self._read_one(path, form, Counter())) as frames:
            found = next((int(frame["event_time_ms"].iloc[0]) for frame in frames if len(frame)), 0)
        return found

    def times_ascend(self) -> bool:
        """Whether the texts of the times prove that the log is in order; False also when they cannot say."""
        if len({form.time_shape for _, form in self._events}) > 1:
            return False
        last = ""
        for path, form in self._events:
            span = ascending_span(path, form, block_bytes=BLOCK_BYTES)
            if span is None or (span.first and span.first < last):
                return False
            last = span.last or last
        return True

    @property
    def logged(self) -> list[LoggedEvents]:
        """The topics and archives among the files."""
        return list(self._logged.values())

    @property
    def metadata(self) -> list[Path]:
        """The paths that hold metadata."""
        return [path for path, _ in self._metadata]

    def read(self, rejects: Counter[str] | None = None) -> Iterator[pd.DataFrame]:
        """Event frames of bounded size, in the order of the files; `rejects` counts what is left out.

        Raises NextclickError at a line that cannot be read (with `on_error` "stop"), and at the end
        when the filter has left out all events.
        """
        rejects = Counter() if rejects is None else rejects
        items_by_family = self._read_metadata()
        rejects.update(self._metadata_rejects)
        rejects.update(self._unknown)
        kept, filtered = 0, 0
        categories: Counter[str] = Counter()
        for path, form in self._events:
            items = items_by_family.get(form.family)
            for events in self._read_one(path, form, rejects):
                if items is not None:
                    events = items.join(events)
                if self._wanted:
                    before = len(events)
                    if not kept and "category" in events:
                        categories.update(events["category"].dropna().str.split(".").str[0].head(10_000))
                    reason = self._wanted.left_out(events)
                    count_reasons(rejects, reason[reason != ""])
                    events = events[reason == ""].reset_index(drop=True)
                    filtered += before - len(events)
                kept += len(events)
                yield events
            pa.default_memory_pool().release_unused()
        if filtered and not kept and not any(logged.is_part for logged in self.logged):
            raise nothing_wanted([path for path, _ in self._events], self._wanted, filtered, categories)

    def load(self, rejects: Counter[str] | None = None) -> pd.DataFrame:
        """The whole log in event-time order, stable for equal times.

        Raises NextclickError when the log has no events.
        """
        rejects = Counter() if rejects is None else rejects
        chunks = list(self.read(rejects))
        if not any(len(chunk) for chunk in chunks):
            raise self.no_events(rejects)
        frame = pd.concat(chunks, ignore_index=True)
        if not frame["event_time_ms"].is_monotonic_increasing:
            frame = frame.sort_values("event_time_ms", kind="stable", ignore_index=True)
        return frame

    def no_events(self, rejects: Counter[str]) -> NextclickError:
        """The error of a log of which nothing is left."""
        return NoEvents([path for path, _ in self._events], rejects)

    def _add(self, path: Path, format: str | None) -> None:
        if format is not None:
            metadata = metadata_format(path)
            form = named_format(path, format)
            if metadata is not None and metadata.family == form.family:
                self._metadata.append((path, metadata))
            else:
                self._events.append((path, form))
            return
        form = detected_format(path)
        (self._metadata if form.name in METADATA else self._events).append((path, form))

    def _add_logged(self, logged: LoggedEvents) -> None:
        self._logged[Path(logged.source)] = logged
        self._events.append((Path(logged.source), LOGGED))

    def _read_metadata(self) -> dict[str, ItemMetadata]:
        if self._items is None:
            rejects: Counter[str] = Counter()
            frames: dict[str, list[pd.DataFrame]] = {}
            for path, form in self._metadata:
                frames.setdefault(form.family, []).extend(self._read_one(path, form, rejects))
            self._items = {family: ItemMetadata(parts) for family, parts in frames.items() if parts}
            rejects["repeated item"] += sum(items.repeated for items in self._items.values())
            counts = {f"metadata: {reason}": count for reason, count in rejects.items() if count}
            self._metadata_rejects = Counter(counts)
        return self._items

    def _read_one(
        self, path: Path, form: Format, rejects: Counter[str]
    ) -> Generator[pd.DataFrame, None, None]:
        if path in self._logged:
            yield from self._logged[path].read(rejects, most_rejected=self._most_unreadable)
            return
        convert, account = converter_of(path, form, self.times), FileAccount()
        on_broken = BrokenRows(self._skip, rejects, self.reject_line, account)
        with closing(file_chunks(path, form, on_broken, block_bytes=BLOCK_BYTES)) as chunks:
            for chunk in chunks:
                yield readable_events(path, form, convert, chunk, on_broken)
        self._close_account(path, account, rejects)

    def _close_account(self, path: Path, account: FileAccount, rejects: Counter[str]) -> None:
        account.check(path, self._most_unreadable, rejects)
        self.keep_account(str(path), account.as_dict())
