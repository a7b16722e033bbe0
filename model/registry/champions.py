"""Who is champion, and who was before: the CHAMPION pointer and the line of champions behind it.

CHAMPIONS lists the versions that were promoted, oldest first; CHAMPION points into it. A
promotion writes the list first and moves the pointer then, going back moves the pointer
alone: each is one rename, so that whoever is killed in between leaves the old champion in
place. Those who write hold the kernel's lock on a file beside them, which ends with its process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.durable import replace_durably

POINTER, LINE, LOCK = "CHAMPION", "CHAMPIONS", ".CHAMPION-lock"
KEPT = 100


class Champions:
    """The pointer and the line of the registry in `root`; knows no versions, only their names."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self) -> str | None:
        """The version that CHAMPION names, None when there is none."""
        try:
            return (self._root / POINTER).read_text().strip() or None
        except FileNotFoundError:
            return None

    def before(self) -> list[str]:
        """Who was champion before the one of now, oldest first; each once."""
        return self._line()[:-1]

    def promote(self, version: str) -> str | None:
        """Point CHAMPION at `version`, with the one of now before it; → the one of now."""
        with self._locked():
            current = self.current()
            self._promote(version, current)
            return current

    def succeed(self, version: str, former: str | None) -> bool:
        """As promote, if CHAMPION still names `former` (None: nobody); → whether it did."""
        with self._locked():
            if self.current() != former:
                return False
            self._promote(version, former)
            return True

    def _promote(self, version: str, current: str | None) -> None:
        if version != current:
            line = [name for name in self._line() if name != version]
            self._write(LINE, "".join(f"{name}\n" for name in [*line, version][-KEPT:]))
        self._write(POINTER, f"{version}\n")

    def go_back(self, version: str, instead_of: str) -> bool:
        """Point CHAMPION back at `version` if it still names `instead_of`; → whether it did.

        Raises ValueError when `version` was not champion before that.
        """
        with self._locked():
            if self.current() != instead_of:
                return False
            if version not in self.before():
                raise ValueError(f"{version} was not champion before {instead_of}")
            self._write(POINTER, f"{version}\n")
            return True

    def _line(self) -> list[str]:
        """The champions until the one of now, which is the last; those it was gone back from are cut off."""
        current = self.current()
        try:
            line = (self._root / LINE).read_text().split()
        except FileNotFoundError:
            line = []
        if current is None:
            return []
        return [*line[: line.index(current)], current] if current in line else [*line, current]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._root / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, text: str) -> None:
        replace_durably(self._root / name, text.encode(), self._root / f".{name}-{os.getpid()}")
