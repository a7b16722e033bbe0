"""A read-only snapshot of a session store for another process; changes nothing and locks nothing.

Opens RocksDB as a secondary over links to the store's files, since opening the folder itself would
write into it. The worker may have the store open: the snapshot shows what it had written before.

Tested by tests/integration/test_doctor.py and tests/integration/test_session_view.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import AccessType, Options, Rdict

from model.errors import NextclickError
from stream.sessions.offsets import AppliedOffsets, unpack_applied
from stream.sessions.session_state import SessionState, unpack_state
from stream.sessions.store import APPLIED_KEY, CORRUPT_MARK, CorruptStoreError, state_key

# Compaction may delete files between listing and opening.
ATTEMPTS = 5
CONFIG_FILE = "rocksdict-config.json"


class StoreSnapshot:
    """What a store held at one moment."""

    def __init__(self, path: Path, database: Rdict) -> None:
        self._path, self._database = path, database

    @property
    def applied(self) -> AppliedOffsets | None:
        """The applied offsets, None for a store without a wave. Raises CorruptStoreError."""
        value = self._get(APPLIED_KEY)
        try:
            return None if value is None else unpack_applied(value)
        except msgspec.DecodeError as error:
            raise CorruptStoreError(self._path, error) from error

    def state(self, session_id: str) -> SessionState | None:
        """A session's state, None when it has none. Raises CorruptStoreError."""
        value = self._get(state_key(session_id))
        try:
            return None if value is None else unpack_state(value)
        except msgspec.DecodeError as error:
            raise CorruptStoreError(self._path, error) from error

    def _get(self, key: bytes) -> Any:
        try:
            return self._database.get(key)
        except Exception as error:  # rocksdict raises bare Exception for every RocksDB status
            raise CorruptStoreError(self._path, error) from error


@contextmanager
def open_snapshot(path: Path) -> Iterator[StoreSnapshot]:
    """A snapshot of the store at `path`, for as long as the context lasts.

    Raises CorruptStoreError when it is marked as damaged or its files do not open, NextclickError
    when they may not be read.
    """
    try:
        if (path / CORRUPT_MARK).exists():
            raise CorruptStoreError(path, (path / CORRUPT_MARK).read_text())
        with tempfile.TemporaryDirectory(prefix="nextclick-look-") as folder:
            database = _open(path, Path(folder))
            try:
                yield StoreSnapshot(path, database)
            finally:
                database.close()
    except OSError as error:
        raise NextclickError(
            f"the session store {path} cannot be read: {error}",
            "What it holds is not known; nothing was changed.",
            "Look with the rights of the worker's user.",
        ) from error


def _open(path: Path, folder: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(False)
    # RocksDB's secondaries need it, so that no file vanishes while it is read.
    options.set_max_open_files(-1)
    for attempt in range(ATTEMPTS):
        mirror, own = folder / f"store-{attempt}", folder / f"own-{attempt}"
        mirror.mkdir()
        for file in path.iterdir():
            if file.is_file() and file.name not in ("LOCK", CONFIG_FILE):
                (mirror / file.name).symlink_to(file.absolute())
        if (path / CONFIG_FILE).exists():
            (mirror / CONFIG_FILE).write_bytes((path / CONFIG_FILE).read_bytes())
        try:
            return Rdict(str(mirror), options, access_type=AccessType.secondary(str(own)))
        except Exception as error:  # rocksdict raises bare Exception for every RocksDB status
            if attempt == ATTEMPTS - 1:
                raise CorruptStoreError(path, error) from error
    raise AssertionError("unreachable")


def store_path(state_dir: Path, topic: str, partition: int) -> Path:
    """The folder of a partition's store."""
    return state_dir / f"{topic}-{partition}"


def store_bytes(path: Path) -> int:
    """Bytes of a store on disk; files that are deleted meanwhile are not counted."""
    total = 0
    for file in path.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total
