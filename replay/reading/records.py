"""Finds records of a delimited file by number, to say where a broken one is.

Tested by tests/unit/replay/reading/test_broken_files.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from replay.reading.format import Format
from replay.reading.packed_files import CUT_OFF, WholeLines, open_file
from replay.reading.quotes import quoted_lines

BLOCK_BYTES = 1 << 16


class Records:
    """Finds records of a file by number, from 1; rising numbers need one pass over the file.

    Quoted values may span lines; blank lines are not records.
    """

    def __init__(self, path: Path, form: Format) -> None:
        self._path = path
        self._form = form
        self._file: IO[bytes] | None = None
        self._records: Iterator[tuple[int, bytes]] = iter(())
        self._found = 0

    def find(self, record: int) -> tuple[int, bytes]:
        """The line number, from 1, where a record begins, and its text; after the last record, the end."""
        if self._file is None or record <= self._found:
            self.close()
            self._file = open_file(self._path)
            self._records = self._quoted_records() if self._form.quoted else self._plain_records()
            self._found = 0
        line, content = 1, b""
        while self._found < record:
            try:
                line, content = next(self._records)
            except StopIteration:
                return line + 1, b""
            except (csv.Error, *CUT_OFF):
                return line + 1, b""
            self._found += 1
        return line, content.rstrip(b"\r\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _quoted_records(self) -> Iterator[tuple[int, bytes]]:
        assert self._file is not None
        source = quoted_lines(self._form, WholeLines(self._file), lambda line, reason, text: None)
        source.mends = False
        read: list[str] = []

        def lines() -> Iterator[str]:
            # Latin-1 preserves every byte; the characters between records and fields are ASCII.
            while block := source.read(BLOCK_BYTES):
                for line in io.StringIO(block.decode("latin-1"), newline=""):
                    read.append(line)
                    yield line

        number = 1
        for fields in csv.reader(lines(), delimiter=self._form.delimiter):
            if fields:
                yield number, "".join(read).encode("latin-1")
            number += len(read)
            read.clear()

    def _plain_records(self) -> Iterator[tuple[int, bytes]]:
        assert self._file is not None
        for number, line in enumerate(self._file, 1):
            if line.strip(b"\r\n"):
                yield number, line
