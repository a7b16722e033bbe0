"""Durable writes: a function returns only after the disk has the data.

Tested by tests/unit/model/registry/test_champions.py.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file; return when the disk has its content."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries; return when the disk has them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes, unfinished: Path) -> None:
    """Replace a file's content atomically and durably.

    `unfinished` is the temporary name, in the same folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "pointer")
    ...     replace_durably(path, b"v1", path.with_name("pointer.unfinished"))
    ...     path.read_bytes()
    b'v1'
    """
    write_durably(unfinished, content)
    unfinished.replace(path)
    sync_folder(path.parent)
