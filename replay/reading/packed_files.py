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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from model.errors import NextclickError

# What reading a damaged file raises; bz2, gzip and a failing disk an OSError.
CUT_OFF = (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, OSError)
# A line of JSON holds a whole review, or a product with its description.
LONGEST_LINE_BYTES = 8 << 20


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed when it is xz, gzip, bzip2 or a zip of one member.

    A member of a zip of several is named as if the zip were a folder. Raises NextclickError when
    it cannot be opened.
    """
    try:
        if path.parent.is_file() and zipfile.is_zipfile(path.parent):
            return _open_member(path.parent, path.name)
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


def members(path: Path) -> list[Path]:
    """A zip of several files as its members, anything else as it is.

    Raises NextclickError when it cannot be opened.
    """
    try:
        if not zipfile.is_zipfile(path):
            return [path]
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in _files_in(archive)]
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except zipfile.BadZipFile as error:
        raise cut_off(path, 1, error) from None
    return [path] if len(names) < 2 else [path / Path(name).name for name in names]


def _files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # macOS packs a shadow of every file.
    found = (one for one in archive.infolist() if not one.is_dir())
    return [one for one in found if not one.filename.startswith("__MACOSX/")]


def _open_member(path: Path, name: str | None = None) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    found = [one for one in _files_in(archive) if name is None or Path(one.filename).name == name]
    if len(found) != 1 or found[0].flag_bits & 1:
        archive.close()
        raise NextclickError(
            f"{path} holds {len(found)} files{f' named {name}' if name else ''}"
            if len(found) != 1
            else f"{path} is encrypted",
            "Readable event files, each of a name of its own, are expected in an archive.",
            "Unpack it and name the files.",
        )
    try:
        return archive.open(found[0])
    except NotImplementedError as error:
        archive.close()
        raise NextclickError(
            f"{path} is packed in a way that is not known here: {error}",
            "Nothing was read.",
            "Unpack it and name the files.",
        ) from None


def first_line(path: Path) -> str:
    """A file's first line (8 MB of it) without its end. Raises NextclickError where it is damaged."""
    try:
        with open_file(path) as file:
            return file.readline(LONGEST_LINE_BYTES).decode("utf-8-sig", "replace").rstrip("\r\n")
    except CUT_OFF as error:
        raise cut_off(path, 1, error) from None


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


class Records:
    """Finds records of a file by their number, from 1, in one pass as long as the numbers grow.

    Quoted values span lines, and blank lines are no records.
    """

    def __init__(self, path: Path, delimiter: str, *, quoted: bool = True) -> None:
        self._path = path
        self._delimiter = delimiter
        self._quoted = quoted
        self._file: IO[bytes] | None = None
        self._records: Iterator[tuple[int, bytes]] = iter(())
        self._found = 0

    def find(self, record: int) -> tuple[int, bytes]:
        """The line, from 1, on which a record begins, and what stands there; of one too many, the end."""
        if self._file is None or record <= self._found:
            self.close()
            self._file = open_file(self._path)
            self._records = self._quoted_records() if self._quoted else self._plain_records()
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
        read: list[str] = []

        def lines() -> Iterator[str]:
            # Latin-1 gives every byte back as it was; what divides records and fields is ASCII.
            for line in io.TextIOWrapper(cast("IO[bytes]", self._file), "latin-1", newline=""):
                read.append(line)
                yield line

        number = 1
        for fields in csv.reader(lines(), delimiter=self._delimiter):
            if fields:
                yield number, "".join(read).encode("latin-1")
            number += len(read)
            read.clear()

    def _plain_records(self) -> Iterator[tuple[int, bytes]]:
        assert self._file is not None
        for number, line in enumerate(self._file, 1):
            if line.strip(b"\r\n"):
                yield number, line
