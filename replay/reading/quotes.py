"""Lines of a delimited file with quotes, in blocks that end where a record ends.

A quote that opens a value and is not closed swallows the lines after it, up to the next quote, and no
CSV reader can tell. A value may run over a few lines. One that runs over more of them, over lines
that read as rows, or does not end as a value does, has a quote too many: its first line is given to
`leave_out` and replaced by a blank line, and reading goes on with the next line.

Tested by tests/cases/test_quotes.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from replay.reading.format import Format
from replay.reading.packed_files import WholeLines
from replay.reading.whole_records import LeaveOut, WholeRecords

# The most lines of a quoted value: a title or a description, not the rest of a file.
MOST_LINES = 20
QUOTE, NEWLINE, RETURN = b'"\n\r'
BOM = b"\xef\xbb\xbf"
# What a quoted value holds, with its end.
REST_OF_VALUE = re.compile(rb'(?:[^"]++|"")*+"')
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Record:
    """A record in a block: its fields, its lines, whether its values end as values do, and its end."""

    fields: int
    lines: int
    well_ended: bool
    end: int


class QuotedLines(WholeRecords):
    """Lines of a format with quotes; a row has as many fields as `fields`, or as the first line."""

    def __init__(
        self, lines: WholeLines, delimiter: str, leave_out: LeaveOut, *, fields: int | None = None
    ) -> None:
        super().__init__(lines, delimiter, leave_out, fields=fields)
        self._delimiter = ord(delimiter)
        self._end_of_field = re.compile(rb"[\n" + re.escape(delimiter.encode()) + rb"]")

    def _whole(self, data: bytes, whole: int) -> bytes:
        block = np.frombuffer(data, np.uint8, whole)
        is_end = block == NEWLINE
        if (
            self._fields is not None
            and b'"' not in data
            and b"\r" not in data
            and not is_end[0]
            and not (is_end[1:] & is_end[:-1]).any()
        ):
            # Nothing but rows, as in most blocks of most files.
            lines = int(np.count_nonzero(is_end)) + (not is_end[-1])
            self._rest = data[whole:]
            self.lines += lines
            self.records += lines
            return data if whole == len(data) else data[:whole]
        ends = is_end.nonzero()[0]
        if block[-1] != NEWLINE:
            ends = np.append(ends, whole)
        starts = np.concatenate(([0], ends[:-1] + 1))
        blank = (ends == starts) | ((ends == starts + 1) & (block[starts] == RETURN))
        if not self.lines and data.startswith(BOM):
            starts[0] = len(BOM)
        if self._fields is None and not blank.all():
            first = int(blank.argmin())
            header = self._record(data, starts[first], min(ends[first] + 1, whole))
            self._fields = None if header is None else header.fields
        given, cut, continued, after = len(ends), whole, 0, 0
        pieces = []
        for line in _suspects(block, ends, self._delimiter) if b'"' in data else ():
            if line < after:
                continue
            last = min(line + MOST_LINES, len(ends)) - 1
            record = self._record(data, starts[line], min(ends[last] + 1, whole))
            if record is None and line + MOST_LINES > len(ends) and not self._ended:
                given, cut = line, starts[line] if line else 0
                break
            if record is not None and self._is_value(data, record, starts, ends, line):
                after = line + record.lines
                blank[line + 1 : after] = False
                continued += record.lines - 1
                continue
            lines = last - line + 1 if record is None else record.lines
            text = data[starts[line] : ends[line]].removesuffix(b"\r")
            self._leave_out(self.lines + line + 1, f"a quoted value runs over {lines} lines", text)
            self.left_out += 1
            blank[line] = True
            pieces.append((starts[line], ends[line]))
        self._rest = data[cut:]
        self.lines += given
        blanks = int(blank[:given].sum())
        self.blank += blanks
        self.continued += continued
        self.records += given - blanks - continued
        return _without(data, cut, pieces)

    def _is_value(self, data: bytes, record: _Record, starts: Offsets, ends: Offsets, line: int) -> bool:
        """Whether a record of several lines is one, and not rows between two lone quotes."""
        if record.lines == 1:
            return True
        if record.fields != self._fields or not record.well_ended:
            return False
        if data.count(self.delimiter.encode(), starts[line], ends[line]) < record.fields - 1:
            # With a lone quote the line would be a row, too.
            return True
        rows = 0
        for further in range(line + 1, line + record.lines):
            alone = self._record(data, starts[further], min(ends[further] + 1, len(data)))
            rows += alone is not None and alone.fields == self._fields
        return 2 * rows < record.lines - 1

    def _fields_of(self, line: bytes) -> int | None:
        if b'"' not in line:
            return super()._fields_of(line)
        record = self._record(line, 0, len(line))
        return None if record is None else record.fields

    def _split(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            record = self._record(data, at, len(data))
            end = len(data) if record is None else record.end
            yield data[at:end]
            at = end

    def _record(self, data: bytes, start: int, limit: int) -> _Record | None:
        """The record that begins at `start`; None when a value is open at `limit`."""
        at, fields, well_ended, lines = int(start), 0, True, 1
        while True:
            if at < limit and data[at] == QUOTE:
                rest = REST_OF_VALUE.match(data, at + 1, limit)
                if rest is None:
                    return None
                further = data.count(b"\n", at, rest.end())
                lines += further
                at = rest.end()
                if further and at < limit and data[at] not in (self._delimiter, NEWLINE, RETURN):
                    well_ended = False
            end = self._end_of_field.search(data, at, limit)
            fields += 1
            if end is None or data[end.start()] == NEWLINE:
                return _Record(fields, lines, well_ended, limit if end is None else end.end())
            at = end.end()


def _suspects(block: npt.NDArray[np.uint8], ends: Offsets, delimiter: int) -> list[int]:
    """The lines in which not every quote opens or closes a value in its place; the first is 0."""
    quotes = (block == QUOTE).nonzero()[0]
    if _in_place(block, ends, quotes, delimiter):
        return []
    lines = ends.searchsorted(quotes)
    first = np.concatenate(([True], lines[1:] != lines[:-1]))
    place = np.arange(len(quotes))
    opens = (place - np.maximum.accumulate(np.where(first, place, 0))) % 2 == 0
    before = np.where(quotes > 0, block[quotes - 1], NEWLINE)
    after = np.where(quotes + 1 < len(block), block[np.minimum(quotes + 1, len(block) - 1)], NEWLINE)
    # A quote after a closing one is the second of a doubled quote.
    begun = (before == delimiter) | (before == NEWLINE) | (before == QUOTE)
    ended = (after == delimiter) | (after == NEWLINE) | (after == RETURN) | (after == QUOTE)
    last = np.concatenate((lines[1:] != lines[:-1], [True]))
    wrong = np.where(opens, ~begun | last, ~ended)
    found: list[int] = np.unique(lines[wrong]).tolist()
    return found


def _in_place(block: npt.NDArray[np.uint8], ends: Offsets, quotes: Offsets, delimiter: int) -> bool:
    """Whether every quote opens or closes a value in its place, and no value is open at a line's end."""
    if len(quotes) % 2 or (quotes.searchsorted(ends) & 1).any():
        return False
    before = block[quotes[0::2] - 1]
    if quotes[0] == 0:
        before[0] = NEWLINE
    if not ((before == delimiter) | (before == NEWLINE) | (before == QUOTE)).all():
        return False
    closing = quotes[1::2]
    at_the_end = int(closing[-1]) + 1 == len(block)
    after = block[(closing[:-1] if at_the_end else closing) + 1]
    ended = (after == delimiter) | (after == NEWLINE) | (after == RETURN) | (after == QUOTE)
    return bool(ended.all())


def _without(data: bytes, end: int, pieces: list[tuple[int, int]]) -> bytes:
    if not pieces:
        return data if end == len(data) else data[:end]
    kept, at = [], 0
    for start, stop in pieces:
        kept.append(data[at:start])
        at = stop
    return b"".join((*kept, data[at:end]))


def quoted_lines(form: Format, lines: WholeLines, leave_out: LeaveOut) -> QuotedLines:
    """The lines of a file of a format with quotes."""
    return QuotedLines(lines, form.delimiter, leave_out, fields=None if form.header else len(form.columns))
