"""One retraining of a registry at a time.

The lock is the kernel's, on a file in the registry's folder: it is released when the process
that holds it ends, even by a kill.

Tested by tests/faults/test_retrain.py.
"""

from __future__ import annotations

import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from model.errors import NextclickError

LOCK = ".retrain.lock"


class RetrainUnderWay(NextclickError):
    """Another process retrains the registry."""


class RetrainLock:
    """A context that one process is in. Raises RetrainUnderWay when another process is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file: IO[str] | None = None

    def __enter__(self) -> RetrainLock:
        self._root.mkdir(parents=True, exist_ok=True)
        file = (self._root / LOCK).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RetrainUnderWay(
                f"a retraining of {self._root} is under way: {holder}",
                "Two at once would both go on from the same champion. This one has done nothing.",
                "Wait for it, or end it; the lock ends with its process.",
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%FT%TZ}\n")
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
