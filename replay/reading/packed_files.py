"""Event files as bytes: decompressed, in whole lines, and whether a file is cut off.

Knows compression and lines, not formats. The first bytes of a file say how it is compressed, not its
name; those of the text, whether its lines end in carriage returns alone.

Tested by tests/unit/replay/reading/test_broken_files.py.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from model.errors import NextclickError

# Exceptions when reading a damaged file; bz2, gzip and a failing disk raise OSError.
CUT_OFF = (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, OSError)
# A line of JSON may hold a whole review, or a product with its description.
LONGEST_LINE_BYTES = 8 << 20
CODEC_BYTES = 1 << 14


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading; xz, gzip, bzip2, zstd, lz4 and a zip of one file are decompressed.

    A file in a zip of several is named as if the zip were a folder. Lines that end in carriage returns
    alone end in line feeds here. Raises NextclickError when the file cannot be opened.
    """
    try:
        if path.parent.is_file() and zipfile.is_zipfile(path.parent):
            file = _unpacked(cast("io.BufferedReader", _open_member(path.parent, path.name)))
        else:
            plain = path.open("rb")
            if plain.peek(4).startswith(b"PK\x03\x04"):
                plain.close()
                file = _unpacked(cast("io.BufferedReader", _open_member(path)))
            else:
                file = _unpacked(plain, path)
        return _with_line_feeds(file)
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except zipfile.BadZipFile as error:
        raise cut_off(path, 1, error) from None


def _unpacked(file: io.BufferedReader, path: Path | None = None) -> io.BufferedReader:
    """The file, decompressed as its first bytes say; a file of the file system is opened anew."""
    start = file.peek(6)[:6]
    source: io.BufferedReader | Path = file
    if path is not None and start.startswith((b"\xfd7zXZ\x00", b"\x1f\x8b", b"BZh")):
        file.close()
        source = path
    if start == b"\xfd7zXZ\x00":
        return cast("io.BufferedReader", lzma.open(source))
    if start.startswith(b"\x1f\x8b"):
        return cast("io.BufferedReader", gzip.open(source))
    if start.startswith(b"BZh"):
        return cast("io.BufferedReader", bz2.open(source))
    # Parallel zstd begins with a frame that is skipped.
    if start.startswith(b"\x28\xb5\x2f\xfd") or (start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5):
        return io.BufferedReader(_ArrowCodec(file, "zstd"))
    if start.startswith(b"\x04\x22\x4d\x18"):
        return io.BufferedReader(_ArrowCodec(file, "lz4"))
    return file


class _ArrowCodec(io.RawIOBase):
    """A file decompressed by pyarrow, in pieces so small that a cut costs little before it."""

    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._file = file
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._stream.read(min(len(buffer), CODEC_BYTES))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


class _LineFeeds(io.RawIOBase):
    """A file whose lines end in carriage returns, with line feeds instead."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._file.read1(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


def _with_line_feeds(file: io.BufferedReader) -> IO[bytes]:
    try:
        start = file.peek(1)
    except CUT_OFF:
        # Reading the file says where.
        return file
    return io.BufferedReader(_LineFeeds(file)) if b"\r" in start[:-1] and b"\n" not in start else file


def size_of(file: IO[bytes]) -> int | None:
    """The bytes of an open file that is not compressed, as the file system says; None for others."""
    raw = getattr(file, "raw", None)
    return os.fstat(raw.fileno()).st_size if isinstance(raw, io.FileIO) else None


def members(path: Path) -> list[Path]:
    """The paths of the files in a zip of several, or in a folder; for any other file its own path.

    Of a folder, files that begin with a point or an underscore are none of the log: Spark and Hadoop
    write them beside the parts. Raises NextclickError when the file cannot be opened.

    >>> members(Path("clicks.csv"))
    [PosixPath('clicks.csv')]
    """
    if path.is_dir():
        return [member for part in parts_of(path) for member in members(part)]
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


def parts_of(path: Path) -> list[Path]:
    """The files of a folder, in the order of their names; for a file its own path.

    Raises NextclickError for a folder without any.
    """
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.is_file() and one.name[0] not in "._")
    if not found:
        raise NextclickError(
            f"{path} is a folder without a file", "It has no events.", "Name a file, or a folder of parts."
        )
    return found


def _files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # macOS adds a shadow of every file.
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
    """The first line of a file, at most 8 MB, without its line end.

    Raises NextclickError when the file is damaged.
    """
    return first_lines(path, 1)[0]


def first_lines(path: Path, count: int) -> list[str]:
    """At least one and at most `count` first lines of a file, as `first_line` reads one.

    A file that is damaged after its first line has fewer.
    """
    lines: list[bytes] = []
    try:
        with open_file(path) as file:
            while len(lines) < count and (not lines or lines[-1]):
                lines.append(file.readline(LONGEST_LINE_BYTES))
    except CUT_OFF as error:
        if not lines:
            raise cut_off(path, 1, error) from None
    return [line.decode("utf-8-sig", "replace").rstrip("\r\n") for line in lines]


def cut_off(path: Path, line: int, error: Exception) -> NextclickError:
    """The error for a file that cannot be decompressed to its end; `line` is the first lost line."""
    return NextclickError(
        f"{path}, line {line}: the file is cut off or damaged here: {error}",
        "It cannot be decompressed to its end.",
        "Fetch the file again, or take what stands before that line with --on-error skip.",
    )


class WholeLines:
    """A file object that returns whole lines; of a cut-off archive, all lines before the cut.

    After the end, `cut_off` is the error that ended the file early, or None. `lines` and `bytes` count
    what was returned. The last line of a plain file needs no line end.

    >>> lines = WholeLines(cast("IO[bytes]", io.BufferedReader(io.BytesIO(b"first\\nsecond"))))
    >>> lines.read(8)
    b'first\\n'
    """

    def __init__(self, file: IO[bytes]) -> None:
        # read1 returns what there is; read would lose it when the cut lies within `size`.
        self._file = cast("io.BufferedReader", file)
        self._rest = b""
        self.lines = self.bytes = 0
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
        self.bytes += whole
        return data[:whole]

    def close(self) -> None:
        """Mark it closed; the caller closes the file."""
        self.closed = True
