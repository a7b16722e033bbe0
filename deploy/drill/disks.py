"""File systems on which something fails: one that is full at once, one that cannot be written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.drill.fault import CannotBeMade

SIZE = "1m"


@contextmanager
def small_disk(folder: Path, aside: Path) -> Iterator[None]:
    """In place of `folder` a disk of a megabyte; what was there waits in `aside`. Raises CannotBeMade."""
    folder.rename(aside)
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder))
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        folder.rmdir()
        aside.rename(folder)


@contextmanager
def second_place(folder: Path, place: Path) -> Iterator[Callable[[], None]]:
    """`folder` once more at `place`; call what it yields, and it cannot be written there any more.

    Raises CannotBeMade.
    """
    place.mkdir()
    try:
        _mount("--bind", str(folder), str(place))
        try:
            yield lambda: _mount("-o", "remount,ro,bind", str(place))
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        place.rmdir()


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBeMade(f"no right to mount: {done.stderr.strip()}")
