"""Event files as bytes: decompressed, by whole lines, and known to be whole or cut off.

Knows compression and lines; knows no format. How a file is packed is read from its first
bytes, not from its name.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from model.errors import NextclickError

CUT_OFF = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed when it is xz, gzip, bzip2 or a zip of one member.

    Raises NextclickError when it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"PK\x03\x04"):
            return _open_member(path)
        if start == b"\xfd7zXZ\x00":
            return lzma.open(path)
        if start.startswith(b"\x1f\x8b"):
            return cast("IO[bytes]", gzip.open(path))
        if start.startswith(b"BZh"):
            return bz2.open(path)
        return path.open("rb")
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except zipfile.BadZipFile as error:
        raise cut_off(path, 1, error) from None


def _open_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1 or members[0].flag_bits & 1:
        raise NextclickError(
            f"{path} holds {len(members)} files" if len(members) != 1 else f"{path} is encrypted",
            "One readable event file per archive is expected.",
            "Unpack it and name the files.",
        )
    return archive.open(members[0])


def cut_off(path: Path, line: int, error: Exception) -> NextclickError:
    """The error of a file that cannot be decompressed to its end; `line` is the first one lost."""
    return NextclickError(
        f"{path}, line {line}: the file is cut off or damaged here: {error}",
        "It cannot be decompressed to its end.",
        "Fetch the file again, or take what stands before that line with --on-error skip.",
    )


class WholeLines:
    """A file object that gives whole lines, and of a cut-off archive all that stand before the cut.

    After its end, `cut_off` is the error that ended it early, or None; `lines` counts the
    lines given. A plain file's last line needs no line end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        # read1 gives what is there; read would lose it when the cut comes within its size.
        self._file = cast("io.BufferedReader", file)
        self._rest = b""
        self.lines = 0
        self.cut_off: Exception | None = None
        self.closed = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes, ending with a line end unless one line is longer; b"" at the end."""
        parts, length, ended = [self._rest], len(self._rest), self.cut_off is not None
        while length < size and not ended:
            try:
                part = self._file.read1(size - length)
            except CUT_OFF as error:
                self.cut_off, part = error, b""
            ended = not part
            parts.append(part)
            length += len(part)
        data = b"".join(parts)
        whole = data.rfind(b"\n") + 1
        if self.cut_off is None and (ended or not whole):
            whole = len(data)
        self._rest = b"" if ended else data[whole:]
        self.lines += data.count(b"\n", 0, whole)
        return data[:whole]

    def close(self) -> None:
        """Only marks it closed: the file belongs to who opened it."""
        self.closed = True


class PlainLines:
    """WholeLines of a format without quotes, for a CSV reader that knows only delimiters of one byte.

    A longer delimiter becomes a control character, a carriage return within a line a blank.
    """

    def __init__(self, lines: WholeLines, delimiter: str) -> None:
        self._lines = lines
        self.delimiter = delimiter if len(delimiter) == 1 else "\x1f"
        self._given, self._short = delimiter.encode(), self.delimiter.encode()
        self.closed = False

    def read(self, size: int) -> bytes:
        """As WholeLines, never longer."""
        data = self._lines.read(size)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            data = (data if data.endswith(b"\n") else data.removesuffix(b"\r")).replace(b"\r", b" ")
        return data if self._short == self._given else data.replace(self._given, self._short)

    def close(self) -> None:
        """Only marks it closed: the file belongs to who opened it."""
        self.closed = True


def line_of_record(path: Path, delimiter: str, record: int, *, quoted: bool = True) -> int:
    """The line, from 1, on which the file's `record`-th record that is not blank begins.

    Reads the file again: quoted values span lines and blank lines are no records.
    """
    with open_file(path) as file:
        if not quoted:
            return _line_of_plain_record(file, record)
        reader = csv.reader(io.TextIOWrapper(file, "utf-8", "replace", newline=""), delimiter=delimiter)
        found = 0
        while True:
            line = reader.line_num + 1
            try:
                found += bool(next(reader))
            except (StopIteration, csv.Error, *CUT_OFF):
                return line
            if found == record:
                return line


def _line_of_plain_record(file: IO[bytes], record: int) -> int:
    found, number = 0, 0
    try:
        for number, line in enumerate(file, 1):
            found += bool(line.strip(b"\r\n"))
            if found == record:
                return number
    except CUT_OFF:
        pass
    return number + 1
