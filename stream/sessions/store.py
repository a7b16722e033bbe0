"""The session store of one partition: session states, expiry index and applied offsets.

One RocksDB per partition. Everything that a wave changes in a partition is one
WriteBatch, so that states and offsets never disagree. Knows keys and bytes, but neither when a
session ends nor what a state means.

Keys: `m` the applied offsets · `b<number, 8 bytes big-endian>` a bucket · `s<session>` a state ·
`x<time, 8 bytes big-endian><session>` the expiry index. Its time is a lower bound of the
session's last event time: expiry moves an entry that it finds too early, so that an event
costs no second index write.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from model.errors import NextclickError
from stream.sessions.offsets import (
    AppliedOffsets,
    Bucket,
    pack_applied,
    pack_bucket,
    unpack_applied,
    unpack_bucket,
)

APPLIED_KEY = b"m"
BUCKET_PREFIX = b"b"
STATE_PREFIX = b"s"
EXPIRY_PREFIX = b"x"
DEFAULT_CACHE_BYTES = 64 << 20
# In RocksDB's messages about damaged or missing files, and in no message about a full disk.
DAMAGE = ("Corruption", "No such file", "does not exist")
# A file in the store's folder: the store was found corrupt while it was open.
CORRUPT_MARK = "CORRUPT"


class CorruptStoreError(NextclickError):
    """The store cannot be opened or read, or its applied offsets do not match their checksum."""

    def __init__(self, path: Path, problem: object) -> None:
        super().__init__(
            f"the session store {path} is damaged: {problem}",
            "Nothing is lost: its sessions are in the events topic.",
            "Start the worker again: it moves the store aside and recovers the sessions.",
        )


def expiry_key(last_event_time_ms: int, session_id: str) -> bytes:
    """The index key: sorts by event time."""
    return EXPIRY_PREFIX + last_event_time_ms.to_bytes(8, "big") + session_id.encode()


def state_key(session_id: str) -> bytes:
    """The key of a session's state."""
    return STATE_PREFIX + session_id.encode()


def bucket_key(number: int) -> bytes:
    """The key of a bucket: sorts by number."""
    return BUCKET_PREFIX + number.to_bytes(8, "big")


def make_block_cache(size_bytes: int) -> Cache:
    """A block cache of at most `size_bytes`, shared by all stores that are opened with it."""
    return Cache(size_bytes)


class Batch:
    """The changes of one wave in one partition, applied by `SessionStore.write` at once."""

    def __init__(self) -> None:
        self._batch = WriteBatch(raw_mode=True)

    def put_state(self, session_id: str, value: bytes) -> None:
        """Store a session's packed state."""
        self._batch.put(state_key(session_id), value)

    def delete_state(self, session_id: str) -> None:
        """Delete a session; expiry deletes its index entry when it reaches it."""
        self._batch.delete(state_key(session_id))

    def put_expiry(self, last_event_time_ms: int, session_id: str) -> None:
        """Index a session by a lower bound of its last event time."""
        self._batch.put(expiry_key(last_event_time_ms, session_id), b"")

    def delete_key(self, key: bytes) -> None:
        """Delete an index entry by its key."""
        self._batch.delete(key)

    def put_bucket(self, number: int, bucket: Bucket) -> None:
        """Store how many open sessions have their oldest kept item in this bucket."""
        self._batch.put(bucket_key(number), pack_bucket(bucket))

    def delete_bucket(self, number: int) -> None:
        """Delete a bucket that recovery does not need any more."""
        self._batch.delete(bucket_key(number))

    def put_applied(self, applied: AppliedOffsets) -> None:
        """Store the applied offsets with their checksum."""
        self._batch.put(APPLIED_KEY, pack_applied(applied))

    def release(self) -> WriteBatch:
        """The RocksDB batch; the store consumes it."""
        return self._batch


class SessionStore:
    """One partition's RocksDB.

    Opening raises CorruptStoreError when its files are damaged, NextclickError when they
    cannot be used now (another process has them, the disk is full, no rights). Reading and
    writing raise the same; a store found corrupt while open is marked, so that the next
    opening raises CorruptStoreError too. The stores of a process share a `block_cache`, which
    bounds their memory. `applied` are the applied offsets as of the opening, None without a wave.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store, batch = SessionStore(Path(folder, "events-0")), Batch()
    ...     batch.put_state("s", b"packed")
    ...     store.write(batch)
    ...     store.load(["s", "unknown"])
    ...     store.close()
    [b'packed', None]
    """

    def __init__(
        self, path: Path, *, block_cache: Cache | None = None, write_buffer_bytes: int = 16 << 20
    ) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if (path / CORRUPT_MARK).exists():
                raise CorruptStoreError(path, (path / CORRUPT_MARK).read_text())
            fresh = not (path / "CURRENT").exists()
            if fresh and any(path.glob("MANIFEST-*")):
                raise CorruptStoreError(path, "it has a MANIFEST but no CURRENT file")
        except OSError as error:
            raise _unusable(path, error) from error
        options = _options(block_cache or make_block_cache(DEFAULT_CACHE_BYTES), write_buffer_bytes)
        try:
            # Reopening without naming the family would fall back to default options (8 MiB cache).
            families = None if fresh else {"default": options}
            self._db = Rdict(str(path), options, column_families=families)
        except Exception as error:  # rocksdict raises bare Exception for every RocksDB status
            raise _explained(path, error) from error
        try:
            self.applied = self._read_applied()
        except BaseException:
            self._db.close()
            raise

    def _read_applied(self) -> AppliedOffsets | None:
        value = self._get(APPLIED_KEY)
        if value is None:
            return None
        try:
            return unpack_applied(value)
        except msgspec.DecodeError as error:
            raise CorruptStoreError(self.path, error) from error

    def buckets(self) -> dict[int, Bucket]:
        """All buckets by number."""
        try:
            return {
                int.from_bytes(key[1:], "big"): unpack_bucket(value)
                for key, value in self._entries(BUCKET_PREFIX, BUCKET_PREFIX)
            }
        except msgspec.DecodeError as error:
            raise self.failed(error) from error

    def _get(self, key: Any) -> Any:
        try:
            return self._db.get(key)
        except Exception as error:
            raise self.failed(error) from error

    def failed(self, error: Exception) -> Exception:
        """The exception for an error of the open store; marks the store when it is corrupt."""
        explained = _explained(self.path, error)
        if isinstance(explained, CorruptStoreError) and self.path.is_dir():
            (self.path / CORRUPT_MARK).write_text(str(error))
        return explained

    def load(self, session_ids: list[str]) -> list[bytes | None]:
        """The packed states, None for a session without one; one multi-get."""
        if not session_ids:
            return []
        return cast("list[bytes | None]", self._get([state_key(session_id) for session_id in session_ids]))

    def write(self, batch: Batch) -> None:
        """Apply a wave's changes atomically."""
        try:
            self._db.write(batch.release())
        except Exception as error:
            raise self.failed(error) from error

    def _entries(self, start: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries from the key `start` on whose keys begin with `prefix`."""
        try:
            iterator = self._db.iter()
            iterator.seek(start)
            while iterator.valid():
                key = iterator.key()
                if not key.startswith(prefix):
                    return
                yield key, iterator.value()
                iterator.next()
            iterator.status()
        except Exception as error:
            raise self.failed(error) from error

    def due(
        self, before_ms: int, limit: int, start: bytes = EXPIRY_PREFIX
    ) -> tuple[list[tuple[bytes, int, str]], bytes]:
        """At most `limit` index entries with a time below `before_ms`, from key `start` on.

        Returns (key, time, session id) of each, and the key at which to go on.
        """
        entries: list[tuple[bytes, int, str]] = []
        for key, _ in self._entries(start, EXPIRY_PREFIX):
            time_ms = int.from_bytes(key[1:9], "big")
            if len(entries) == limit or time_ms >= before_ms:
                return entries, key
            entries.append((key, time_ms, key[9:].decode()))
        # After the last one: an entry that is added before this key moves the start back.
        return entries, entries[-1][0] + b"\0" if entries else start

    def rocksdb_number(self, name: str) -> int:
        """RocksDB's property `rocksdb.NAME` as a number, 0 when it has none of that name."""
        return self._db.property_int_value(f"rocksdb.{name}") or 0

    def level0_files(self) -> int:
        """Tables that are not compacted yet; RocksDB slows writes down when there are many."""
        return int(self._db.property_value("rocksdb.num-files-at-level0") or 0)

    def close(self) -> None:
        """Flush and close; the object cannot be used afterwards."""
        self._db.close()


def _explained(path: Path, error: Exception) -> Exception:
    """CorruptStoreError when RocksDB reports damaged or missing files, else NextclickError."""
    text = str(error)
    if isinstance(error, msgspec.DecodeError) or any(word in text for word in DAMAGE):
        return CorruptStoreError(path, text)
    if f"{path}/LOCK" in text:
        return NextclickError(
            f"the session store {path} is in use: {text}",
            "Another worker on this machine has the same state folder.",
            "Give each worker its own --state-dir, or stop the other one.",
        )
    return _unusable(path, error)


def _unusable(path: Path, error: Exception) -> NextclickError:
    return NextclickError(
        f"the session store {path} cannot be used: {error}",
        "What was not written is neither committed nor lost: it is read again after a restart.",
        "Look at the disk (space, rights, errors), then start the worker again.",
    )


def move_aside(path: Path, why: str = "corrupt") -> Path:
    """Rename a store that does not count, so that it is kept for an inspection. Returns its new path."""
    aside = path.with_name(f"{path.name}.{why}-{time.time_ns()}")
    shutil.move(str(path), str(aside))
    return aside


def _options(block_cache: Cache, write_buffer_bytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(512)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(4 << 20)
    table = BlockBasedOptions()
    table.set_block_cache(block_cache)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
