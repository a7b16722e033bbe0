"""Reads the files of a registry as untrusted input: regular files only, of bounded size.

A link cannot lead out of the registry, a pipe cannot block the reader, and a file cannot fill the memory.

Tested by tests/unit/model/registry/test_hostile_versions.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def regular_file(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file. Yields the file and its size. Raises OSError for anything else."""
    # Without O_NONBLOCK, opening a pipe would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        # Python makes no file of a folder's descriptor, and would leave it open.
        os.close(descriptor)
        raise OSError("it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file, found.st_size


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Returns the content of a file. Raises OSError, also when it is not regular or too large.

    >>> read_bounded(Path("/"), 10)
    Traceback (most recent call last):
        ...
    OSError: it is no regular file
    """
    with regular_file(path) as (file, size):
        if size > most_bytes:
            raise OSError(f"it has {size:,} bytes, more than {most_bytes:,}")
        return file.read(size)


def read_start(path: Path, most_bytes: int) -> tuple[bytes, int]:
    """Returns the first bytes of a file and the size of the whole. Raises OSError."""
    with regular_file(path) as (file, size):
        return file.read(min(size, most_bytes)), size
