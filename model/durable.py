"""Files that are on the disk when they are said to be."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and return when the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the disk has the folder's names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes, unfinished: Path) -> None:
    """Give a file new content, whole or not at all.

    `unfinished` is its name until then, in the same folder.
    """
    write_durably(unfinished, content)
    unfinished.replace(path)
    sync_folder(path.parent)
