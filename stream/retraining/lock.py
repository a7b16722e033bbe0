"""One retraining of a registry at a time, and what a killed one had still to do.

The lock is the kernel's, on a file in the registry's folder: it ends with the process
that holds it, however that ends. Between the gate's yes and the announcement a note stands
beside it, so that a successor carries out what was decided, and only that: a version that
somebody rolled back is not promoted anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from model.durable import replace_durably
from model.errors import NextclickError
from model.registry.registry import MANIFEST, Registry

LOCK = ".retrain.lock"
NOTE = ".retrain-accepted.json"


@dataclass(frozen=True)
class Accepted:
    """The gate of `run` has accepted a version in the place of `champion`, to be promoted if it says so."""

    run: str
    champion: str | None
    promote: bool


class RetrainLock:
    """A context that one process is in. Raises NextclickError when another is."""

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
            raise NextclickError(
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

    def note(self, accepted: Accepted) -> None:
        """Write the note down, whole or not at all."""
        content = json.dumps(asdict(accepted)).encode()
        replace_durably(self._root / NOTE, content, self._root / f"{NOTE}.unfinished")

    def noted(self) -> Accepted | None:
        """The note of a run that did not come to its end. Raises NextclickError when it cannot be read."""
        try:
            return Accepted(**json.loads((self._root / NOTE).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise NextclickError(
                f"{self._root / NOTE} cannot be read: {error}",
                "It says what an interrupted retraining had still to do.",
                "Look at `nextclick models`, promote what should serve, and remove the file.",
            ) from None

    def clear(self) -> None:
        """Remove the note: everything is done."""
        (self._root / f"{NOTE}.unfinished").unlink(missing_ok=True)
        (self._root / NOTE).unlink(missing_ok=True)


def saved_by(registry: Registry, run: str) -> str | None:
    """The version that `run` has saved, None when it did not come so far."""
    for path in sorted(registry.root.glob(f"*/{MANIFEST}")):
        # A version that cannot be read is found when it is loaded; here it is only not the one.
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(path.read_bytes()).get("data", {}).get("run") == run:
                return path.parent.name
    return None
