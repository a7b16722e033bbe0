"""Standard output and error as a command may find them: closed, full, or of few characters.

Output that nobody reads any more (`| head`) is dropped without a word, and the command goes on: its
work, its files and its exit code do not depend on who reads. Output that cannot be written (a full
disk) is an error. Characters that the encoding lacks are replaced.
Tested by tests/cases/test_standard_streams.py.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast

from model.errors import NextclickError


class _Stream:
    """A text stream whose writes fail only where the user loses a result.

    `dropped` becomes true when the reader has gone.
    """

    def __init__(self, stream: TextIO, *, must_write: bool) -> None:
        self._stream, self._must_write = stream, must_write
        self.dropped = False

    def write(self, text: str) -> int:
        """Write; drop the text when the reader has gone. Raises NextclickError at any other failure."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        """Flush, as `write` writes."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            self.drop()
        elif self._must_write:
            raise NextclickError(
                f"standard output cannot be written: {error.strerror or error}",
                "What the command prints is not whole; the files that it writes are not affected.",
                "Make room where the output goes, or send it elsewhere.",
            ) from None

    def drop(self) -> None:
        """Let all further text, also text that waits to be written, go nowhere."""
        self.dropped = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that this module describes; call once, at the start."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the first file opened would take the number, and receive what is printed.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and stream.errors in ("strict", "surrogateescape"):
            reconfigure(errors="replace")
        setattr(sys, name, cast(TextIO, _Stream(stream, must_write=name == "stdout")))


def close_output() -> None:
    """Write what waits in standard output. Raises NextclickError when it cannot be written."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """After an error: let what still waits in standard output go nowhere if it cannot be written."""
    try:
        close_output()
    except NextclickError:
        cast(_Stream, sys.stdout).drop()


def has_reader() -> bool:
    """Whether standard output is still read.

    >>> has_reader()
    True
    """
    return not getattr(sys.stdout, "dropped", False)
