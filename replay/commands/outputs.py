"""Asks, before a command begins its work, whether its results can be written.

Every command that reads or computes for long and then writes asks here first.
Tested by tests/cases/test_asked_before.py.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from model.errors import NextclickError


def check_file(option: str, path: Path | None, *, makes_folder: bool = False) -> None:
    """Raise NextclickError unless a file can be written; leaves no file and changes none.

    With `makes_folder` the command makes the folders around the file. None: nothing is asked.

    >>> check_file("--plot", Path("no-such-folder/x.png"))
    Traceback (most recent call last):
    model.errors.NextclickError: --plot: 'no-such-folder/x.png' cannot be written: ...
    """
    if path is None:
        return
    try:
        if makes_folder:
            _try_folder(path.parent)
        if not makes_folder or path.parent.exists():
            _try_file(path)
    except OSError as error:
        raise NextclickError(
            f"{option}: {str(path)!r} cannot be written: {error.strerror or error}",
            "Nothing was read or computed: the result would have had no place.",
            "Name a file in a folder that exists and may be written to.",
        ) from None


def check_folder(option: str, folder: Path | None) -> None:
    """Raise NextclickError unless files can be written to a folder, or the folder can be made.

    >>> check_folder("--registry", Path("registry"))
    """
    if folder is None:
        return
    try:
        _try_folder(folder)
    except OSError as error:
        raise NextclickError(
            f"{option}: nothing can be written to {str(folder)!r}: {error.strerror or error}",
            "Nothing was read or computed: the result would have had no place.",
            "Look at the folder's rights and at the room on its disk, or name another folder.",
        ) from None


def _try_file(path: Path) -> None:
    there = path.exists()
    if there and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        # Opening a pipe would wait for its reader.
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.close(descriptor)
    if not there:
        path.unlink()


def _try_folder(folder: Path) -> None:
    """Make a folder, and remove it, in the nearest of the folders around that exists."""
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    Path(tempfile.mkdtemp(prefix=".nextclick-", dir=nearest)).rmdir()
