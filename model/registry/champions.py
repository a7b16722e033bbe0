"""The champion and the champions before it: the CHAMPION pointer and the CHAMPIONS list.

CHAMPIONS lists the promoted versions, oldest first; CHAMPION points into the list. A promotion writes
the list, then moves the pointer; going back moves only the pointer. Each write is one rename, so a
process that is killed in between leaves the old champion in place. A writer holds the kernel's lock on
a file beside them; the kernel releases the lock when the process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.durable import replace_durably
from model.errors import NextclickError
from model.registry.bounded_files import read_bounded

POINTER, LINE, LOCK = "CHAMPION", "CHAMPIONS", ".CHAMPION-lock"
KEPT = 100
# KEPT names of 200 characters, and room for what somebody has written by hand.
MOST_BYTES = 1 << 16


class Champions:
    """The pointer and the list of the registry in `root`. Knows the names of versions, not the versions.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     champions = Champions(Path(folder))
    ...     champions.promote("v1"), champions.promote("v2"), champions.before()
    (None, 'v1', ['v1'])
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self) -> str | None:
        """Returns the version that CHAMPION names, None without a champion.

        Raises NextclickError when CHAMPION is no file that can be read.
        """
        return self._text(POINTER).strip() or None

    def before(self) -> list[str]:
        """Returns the champions before the current champion, oldest first, each once."""
        return self._line()[:-1]

    def promote(self, version: str) -> str | None:
        """Make `version` champion, after the current champion. Returns the champion before it."""
        with self._locked():
            current = self.current()
            self._promote(version, current)
            return current

    def succeed(self, version: str, former: str | None) -> bool:
        """Promote `version` if CHAMPION still names `former` (None: no champion). Returns whether it did."""
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
        """Point CHAMPION back at `version` if it still names `instead_of`. Returns whether it did.

        Raises ValueError when `version` was not champion before `instead_of`.
        """
        with self._locked():
            if self.current() != instead_of:
                return False
            if version not in self.before():
                raise ValueError(f"{version} was not champion before {instead_of}")
            self._write(POINTER, f"{version}\n")
            return True

    def _line(self) -> list[str]:
        """Returns the champions up to the current champion, without the champions that were rolled back."""
        current, line = self.current(), self._text(LINE).split()
        if current is None:
            return []
        return [*line[: line.index(current)], current] if current in line else [*line, current]

    def _text(self, name: str) -> str:
        try:
            return read_bounded(self._root / name, MOST_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise NextclickError(
                f"{name} in the registry {self._root} cannot be read: {error}",
                "It names the champion, or the champions before; which that is, is not known.",
                "Move it away, then `nextclick promote VERSION` writes it again.",
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._root / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, text: str) -> None:
        replace_durably(self._root / name, text.encode(), self._root / f".{name}-{os.getpid()}")
