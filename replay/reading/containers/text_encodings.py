"""Text as UTF-8 with line feeds: UTF-16 that says so by its first bytes, and lines of carriage returns.

Tested by tests/cases/test_packing.py.
"""

from __future__ import annotations

import codecs
import io
from typing import IO

# UTF-32 begins as UTF-16 does, with two zero bytes more.
UTF16, UTF32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), codecs.BOM_UTF32_LE


def as_utf8_lines(file: io.BufferedReader) -> IO[bytes]:
    """The file, its text as UTF-8 and its lines ending in line feeds, as its first bytes ask for.

    >>> as_utf8_lines(io.BufferedReader(io.BytesIO("ü,1".encode("utf-16")))).read().decode()
    'ü,1'
    """
    start = file.peek(4)
    if start.startswith(UTF16) and not start.startswith(UTF32):
        file = io.BufferedReader(_Utf16(file))
        start = file.peek(1)
    return io.BufferedReader(_LineFeeds(file)) if b"\r" in start[:-1] and b"\n" not in start else file


class _Utf16(io.RawIOBase):
    """A file of UTF-16, as UTF-8 without its mark. Raises EOFError where it ends within a character."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        self._read = 0
        self._text = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._text:
            part = self._file.read1(io.DEFAULT_BUFFER_SIZE)
            self._read += len(part)
            if not part and self._read % 2:
                raise EOFError("UTF-16 ends within a character")
            self._text = self._decoder.decode(part, final=not part).encode()
            if not part:
                break
        given = self._text[: len(buffer)]
        buffer[: len(given)] = given
        self._text = self._text[len(given) :]
        return len(given)

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
