"""Event files as bytes: decompressed, in whole lines, and whether a file is cut off.

Knows compression and lines, not formats. The first bytes of a file say how it is compressed, not its
name; `containers` knows archives and encodings.

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
from errno import ENOTDIR
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from model.errors import NextclickError
from replay.reading.containers.archives import (
    DAMAGED,
    ZIP,
    begins_as_tar,
    tar_member,
    tar_members,
    zip_member,
    zip_members,
)
from replay.reading.containers.text_encodings import as_utf8_lines

# Exceptions when reading a damaged file; bz2, gzip and a failing disk raise OSError.
CUT_OFF = (EOFError, lzma.LZMAError, zlib.error, *DAMAGED, OSError)
# A line of JSON may hold a whole review, or a product with its description.
LONGEST_LINE_BYTES = 8 << 20
CODEC_BYTES = 1 << 14


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading; xz, gzip, bzip2, zstd, lz4, a zip and a tar of one file are unpacked.

    A file in an archive of several is named as if the archive were a folder. Text is UTF-8 here, with line
    feeds. Raises NextclickError when the file cannot be opened.
    """
    try:
        inside = path.parent.is_file()
        file = _member(path.parent, path.name) if inside else _member(path)
        try:
            return as_utf8_lines(file)
        except CUT_OFF:
            # Reading the file says where.
            return file
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except CUT_OFF as error:
        raise cut_off(path, 1, error) from None


def _member(path: Path, name: str | None = None) -> io.BufferedReader:
    """A file, or the one of this name in an archive, without a name its only one, decompressed."""
    plain = path.open("rb")
    if plain.peek(4).startswith(ZIP):
        plain.close()
        return _unpacked(cast("io.BufferedReader", zip_member(path, name)))
    file = _unpacked(plain, path)
    if not _is_tar(file):
        if name is not None:
            file.close()
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
        return file
    return _unpacked(tar_member(path, file, name))


def _is_tar(file: io.BufferedReader) -> bool:
    try:
        return begins_as_tar(file.peek(512))
    except CUT_OFF:
        return False


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


def size_of(file: IO[bytes]) -> int | None:
    """The bytes of an open file that is not compressed, as the file system says; None for others."""
    raw = getattr(file, "raw", None)
    return os.fstat(raw.fileno()).st_size if isinstance(raw, io.FileIO) else None


def members(path: Path) -> list[Path]:
    """The paths of the files in a zip of several, in a tar or in a folder; for any other file its own path.

    Of a folder, files that begin with a point or an underscore are none of the log: Spark and Hadoop
    write them beside the parts. Raises NextclickError when the file cannot be opened.

    >>> members(Path("clicks.csv"))
    [PosixPath('clicks.csv')]
    """
    if path.is_dir():
        return [member for part in parts_of(path) for member in members(part)]
    if path.parent.is_file():
        # One of the files in an archive of several, as `open_file` takes it.
        return [path]
    try:
        if zipfile.is_zipfile(path):
            names = zip_members(path)
            return [path] if len(names) < 2 else [path / Path(name).name for name in names]
        with _unpacked(path.open("rb"), path) as file:
            return [path / Path(name).name for name in tar_members(path, file)] if _is_tar(file) else [path]
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except CUT_OFF as error:
        raise cut_off(path, 1, error) from None


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
