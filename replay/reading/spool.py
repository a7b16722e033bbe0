"""A pipe as a file: its bytes are kept in a temporary file that has no name, and ends with the process.

The readers open a file several times; a pipe can be read once.

Tested by tests/cases/test_pipes.py.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

from model.errors import NextclickError

PART_BYTES = 1 << 20
# A pipe without an end must not fill the disk.
KEPT_FREE_BYTES = 256 << 20
STANDARD_INPUT = Path("/dev/stdin")
_spooled: dict[str, tuple[Path, IO[bytes]]] = {}


def spooled(path: Path) -> Path:
    """The path itself for a regular file; for a pipe, and for "-", the path of a copy of its bytes.

    Raises NextclickError for a terminal, a device or a socket, and when the copy finds no room.

    >>> spooled(Path("clicks.csv"))
    PosixPath('clicks.csv')
    """
    if str(path) == "-" and not path.exists():
        path = STANDARD_INPUT
    if str(path) in _spooled:
        return _spooled[str(path)][0]
    try:
        mode = path.stat().st_mode
    except OSError:
        # Opening it reports what is wrong.
        return path
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path
    if not stat.S_ISFIFO(mode):
        raise NextclickError(
            f"{path} is a terminal, a device or a socket, and no file",
            "Nothing was read.",
            "Name a file, or a pipe: its bytes are kept in a temporary file.",
        )
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the end of the process)
    atexit.register(copy.close)
    found = Path(f"/proc/{os.getpid()}/fd/{copy.fileno()}")
    if not found.exists():
        raise NextclickError(
            f"{path} is a pipe, which can be read only once",
            "On this system its bytes cannot be kept.",
            "Write them to a file, and name it.",
        )
    _copy(path, copy)
    _spooled[str(path)] = (found, copy)
    return found


def _copy(path: Path, copy: IO[bytes]) -> None:
    folder = tempfile.gettempdir()
    try:
        with path.open("rb", buffering=0) as pipe:
            while part := pipe.read(PART_BYTES):
                if shutil.disk_usage(folder).free < KEPT_FREE_BYTES + len(part):
                    raise OSError("there is no room left")
                copy.write(part)
        copy.flush()
    except OSError as error:
        copy.close()
        raise NextclickError(
            f"{path}: the bytes of this pipe cannot be kept in {folder}: {error.strerror or error}",
            "They are read more than once, and need as much room as they are.",
            "Make room, name another folder by TMPDIR, or write them to a file and name it.",
        ) from None
