"""Blocks of whole records for a CSV reader: what both kinds of delimited files share.

Counts every line, so that the rows which the reader gives can be held against them. Files with quotes
are in `quotes`.

Tested by tests/unit/replay/reading/test_broken_files.py and tests/cases/test_quotes.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from replay.reading.packed_files import LONGEST_LINE_BYTES, WholeLines

TOO_LONG = f"the line is longer than {LONGEST_LINE_BYTES:,} bytes"
NOT_ASCII = re.compile(rb"[^\n]*[\x80-\xff][^\n]*")
# Called with a line that is left out: its number from 1, the reason, the line without its end.
LeaveOut = Callable[[int, str, bytes], None]


class WholeRecords:
    """A file object whose blocks end where a record ends.

    `leave_out` is called with each line that is replaced by a blank one. `records` counts the records
    given, the header among them; `blank` the blank lines, those left out among them; `continued` the
    further lines of records of several lines. Together they are the `lines` of the file. Unless `mends`
    is off, pyarrow can read every record given.
    """

    def __init__(
        self, lines: WholeLines, delimiter: str, leave_out: LeaveOut, *, fields: int | None = None
    ) -> None:
        """`fields`: of a row; those of the first one by default."""
        self.delimiter = delimiter
        self._fields = fields
        self._source = lines
        self._leave_out = leave_out
        self._rest = b""
        self._ended = False
        self.lines = self.records = self.blank = self.continued = self.left_out = 0
        self.closed = False
        self.mends = True

    def read(self, size: int) -> bytes:
        """The next records, about `size` bytes, more where one record is longer; b"" at the end."""
        while not self._ended:
            more = self._source.read(size)
            self._ended = not more
            data = self._rest + more
            whole = len(data) if self._ended else data.rfind(b"\n") + 1
            if whole:
                continued = self.continued
                given = self._whole(data, whole)
                if given:
                    whole_lines = self.continued == continued
                    return given if given.isascii() or not self.mends else self._mended(given, whole_lines)
            elif len(data) <= LONGEST_LINE_BYTES:
                self._rest = data
            else:
                self._leave_out(self.lines + 1, TOO_LONG, data[:LONGEST_LINE_BYTES])
                self.left_out += 1
                self._rest = self._after_the_line(size)
        return b""

    def close(self) -> None:
        """Mark it closed; the caller closes the file."""
        self.closed = True

    def _whole(self, data: bytes, whole: int) -> bytes:
        """The records in the first `whole` bytes; keeps what follows them in `_rest`, and counts."""
        raise NotImplementedError

    def _mended(self, data: bytes, whole_lines: bool) -> bytes:
        """The records; what is no UTF-8 is replaced in rows with a wrong number of fields.

        pyarrow hands such rows on as texts, and ends the reading when it cannot. With `whole_lines`
        each line is a record.
        """
        try:
            data.decode()
        except UnicodeDecodeError:
            if whole_lines:
                return NOT_ASCII.sub(lambda line: self._mended_record(line[0]), data)
            return b"".join(map(self._mended_record, self._split(data)))
        return data

    def _mended_record(self, record: bytes) -> bytes:
        if self._fields_of(record) in (None, self._fields):
            return record
        return record.decode("utf-8", "replace").encode()

    def _split(self, data: bytes) -> Iterator[bytes]:
        """The records, blank lines between them."""
        yield from data.splitlines(keepends=True)

    def _fields_of(self, line: bytes) -> int | None:
        """The fields of a line; None for one that is no whole record."""
        return line.count(self.delimiter.encode()) + 1

    def _after_the_line(self, size: int) -> bytes:
        while more := self._source.read(size):
            end = more.find(b"\n")
            if end >= 0:
                return more[end:]
        return b"\n"


class PlainLines(WholeRecords):
    """Lines of a format without quotes, for a CSV reader whose delimiters have one byte.

    A longer delimiter becomes a control character, and a carriage return within a line a blank.
    """

    def __init__(
        self, lines: WholeLines, delimiter: str, leave_out: LeaveOut, *, fields: int | None = None
    ) -> None:
        super().__init__(lines, delimiter if len(delimiter) == 1 else "\x1f", leave_out, fields=fields)
        self._given, self._short = delimiter.encode(), self.delimiter.encode()

    def _whole(self, data: bytes, whole: int) -> bytes:
        self._rest, data = data[whole:], data[:whole]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            data = (data if data.endswith(b"\n") else data.removesuffix(b"\r")).replace(b"\r", b" ")
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        # Two line ends that share no byte with the next two would hide every other blank line.
        blank = 0
        if data.startswith(b"\n") or b"\n\n" in data:
            blank = sum(not line for line in data.removesuffix(b"\n").split(b"\n"))
        self.lines += lines
        self.blank += blank
        self.records += lines - blank
        data = data if self._short == self._given else data.replace(self._given, self._short)
        if self._fields is None and lines > blank:
            self._fields = self._fields_of(data.lstrip(b"\n").partition(b"\n")[0])
        return data
