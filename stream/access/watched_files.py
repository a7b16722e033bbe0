"""Whether files have changed, by what their folder says of them: a stat each, so cheap at any rate.

Tested by tests/unit/stream/access/test_tokens.py and test_tls.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Of each file: device, inode, size, time of change. A link is followed, as those of mounted secrets are.
Signature = tuple[tuple[int, ...], ...]


class WatchedFiles:
    """Says once of each change that there is one.

    >>> watched = WatchedFiles([Path(__file__)])
    >>> watched.have_changed(), watched.have_changed()
    (True, False)
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen: Signature | None = None

    def have_changed(self) -> bool:
        """Whether they are others than at the last call; so at the first call, too."""
        now = tuple(_signature(path) for path in self._paths)
        changed, self._seen = now != self._seen, now
        return changed


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
