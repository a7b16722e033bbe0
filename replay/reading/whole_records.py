"""Blocks of whole records for a CSV reader: what both kinds of delimited files share.

Counts every line, so that the rows which the reader gives can be held against them. Files with quotes
are in `quotes`.

Tested by tests/unit/replay/reading/test_broken_files.py and tests/cases/test_quotes.py.
"""

from __future__ import annotations

from collections.abc import Callable

from replay.reading.packed_files import LONGEST_LINE_BYTES, WholeLines

TOO_LONG = f"the line is longer than {LONGEST_LINE_BYTES:,} bytes"
# Called with a line that is left out: its number from 1, the reason, the line without its end.
LeaveOut = Callable[[int, str, bytes], None]


class WholeRecords:
    """A file object whose blocks end where a record ends.

    `leave_out` is called with each line that is replaced by a blank one. `records` counts the records
    given, the header among them; `blank` the blank lines, those left out among them; `continued` the
    further lines of records of several lines. Together they are the `lines` of the file.
    """

    def __init__(self, lines: WholeLines, delimiter: str, leave_out: LeaveOut) -> None:
        self.delimiter = delimiter
        self._source = lines
        self._leave_out = leave_out
        self._rest = b""
        self._ended = False
        self.lines = self.records = self.blank = self.continued = self.left_out = 0
        self.closed = False

    def read(self, size: int) -> bytes:
        """The next records, about `size` bytes, more where one record is longer; b"" at the end."""
        while not self._ended:
            more = self._source.read(size)
            self._ended = not more
            data = self._rest + more
            whole = len(data) if self._ended else data.rfind(b"\n") + 1
            if whole:
                given = self._whole(data, whole)
                if given:
                    return given
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

    def __init__(self, lines: WholeLines, delimiter: str, leave_out: LeaveOut) -> None:
        super().__init__(lines, delimiter if len(delimiter) == 1 else "\x1f", leave_out)
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
        return data if self._short == self._given else data.replace(self._given, self._short)
