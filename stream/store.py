"""The session store of one partition: session states, expiry index and source fence.

One RocksDB per partition. Everything that a wave changes in a partition is one
WriteBatch, so that states and source offset never disagree. Knows keys and bytes; when a
session ends, and what a state means, is not its business.

Keys: `m` the fence · `s<session>` a state · `x<time, 8 bytes big-endian><session>` the
expiry index, whose time is a lower bound of the session's last event time: it is moved
when expiry finds it too early, so that an event costs no second index write.
"""

from __future__ import annotations

import shutil
import time
import zlib
from pathlib import Path
from typing import cast

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

FENCE_KEY = b"m"
STATE_PREFIX = b"s"
EXPIRY_PREFIX = b"x"


class Fence(msgspec.Struct, array_like=True):
    """How far the partition's events are in the states, and what recovery needs.

    Every event below `position` is in; of those at or above it, only the offsets in
    `beyond` (a wave may take an event past one that waits for its session's turn).
    `watermark_ms` is the largest event time below `position`. `buckets` counts open
    sessions by `oldest kept offset // 10,000`; `sessions` is their number.
    """

    position: int = 0
    watermark_ms: int = 0
    beyond: list[int] = []
    buckets: dict[int, int] = {}
    sessions: int = 0


_fence_encoder = msgspec.msgpack.Encoder()
_fence_decoder = msgspec.msgpack.Decoder(Fence)


class CorruptStoreError(Exception):
    """The store cannot be opened, or its fence does not match its checksum."""


def expiry_key(last_event_time_ms: int, session_id: str) -> bytes:
    """The index key: event-time order first."""
    return EXPIRY_PREFIX + last_event_time_ms.to_bytes(8, "big") + session_id.encode()


def state_key(session_id: str) -> bytes:
    """The key of a session's state."""
    return STATE_PREFIX + session_id.encode()


class Batch:
    """The changes of one wave in one partition, applied by `SessionStore.write` at once."""

    def __init__(self) -> None:
        self._batch = WriteBatch(raw_mode=True)

    def put_state(self, session_id: str, value: bytes) -> None:
        """Store a session's packed state."""
        self._batch.put(state_key(session_id), value)

    def delete_state(self, session_id: str) -> None:
        """Drop a session; its index entry goes when expiry reaches it."""
        self._batch.delete(state_key(session_id))

    def put_expiry(self, last_event_time_ms: int, session_id: str) -> None:
        """Index a session by a lower bound of its last event time."""
        self._batch.put(expiry_key(last_event_time_ms, session_id), b"")

    def delete_key(self, key: bytes) -> None:
        """Drop an index entry by its key."""
        self._batch.delete(key)

    def put_fence(self, fence: Fence) -> None:
        """Store the fence with its checksum."""
        body = _fence_encoder.encode(fence)
        self._batch.put(FENCE_KEY, zlib.crc32(body).to_bytes(4, "big") + body)

    def release(self) -> WriteBatch:
        """The RocksDB batch; the store consumes it."""
        return self._batch


class SessionStore:
    """One partition's RocksDB.

    Opening raises CorruptStoreError, or NextclickError when another process has it.
    """

    def __init__(
        self, path: Path, *, block_cache_bytes: int = 64 << 20, write_buffer_bytes: int = 16 << 20
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        options = _options(block_cache_bytes, write_buffer_bytes)
        fresh = not (path / "CURRENT").exists()
        if fresh and path.exists() and any(path.glob("*.sst")):
            raise CorruptStoreError(f"{path} has tables but no CURRENT file")
        try:
            # Reopening without naming the family would fall back to default options (8 MiB cache).
            families = None if fresh else {"default": options}
            self._db = Rdict(str(path), options, column_families=families)
        except Exception as error:  # rocksdict raises bare Exception for every RocksDB status
            if "lock" in str(error).lower():
                raise NextclickError(
                    f"the session store {path} is in use: {error}",
                    "Another worker on this machine has the same state folder.",
                    "Give each worker its own --state-dir, or stop the other one.",
                ) from None
            raise CorruptStoreError(f"{path}: {error}") from error
        try:
            self.fence = self._read_fence()
        except CorruptStoreError:
            self._db.close()
            raise

    def _read_fence(self) -> Fence | None:
        try:
            value = self._db.get(FENCE_KEY)
        except Exception as error:  # see above
            raise CorruptStoreError(f"{self.path}: {error}") from error
        if value is None:
            return None
        body = value[4:]
        if zlib.crc32(body).to_bytes(4, "big") != value[:4]:
            raise CorruptStoreError(f"{self.path}: the fence does not match its checksum")
        try:
            return _fence_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise CorruptStoreError(f"{self.path}: the fence cannot be read: {error}") from error

    def load(self, session_ids: list[str]) -> list[bytes | None]:
        """The packed states, None where there is no session; one multi-get."""
        if not session_ids:
            return []
        values = self._db[[state_key(session_id) for session_id in session_ids]]
        return cast("list[bytes | None]", values)

    def write(self, batch: Batch) -> None:
        """Apply a wave's changes at once: all of them or none."""
        self._db.write(batch.release())

    def due(self, before_ms: int, limit: int) -> list[tuple[bytes, int, str]]:
        """At most `limit` index entries with a time below `before_ms`: (key, time, session id)."""
        entries: list[tuple[bytes, int, str]] = []
        iterator = self._db.iter()
        iterator.seek(EXPIRY_PREFIX)
        while len(entries) < limit and iterator.valid():
            key = iterator.key()
            if not key.startswith(EXPIRY_PREFIX):
                break
            time_ms = int.from_bytes(key[1:9], "big")
            if time_ms >= before_ms:
                break
            entries.append((key, time_ms, key[9:].decode()))
            iterator.next()
        return entries

    def size_bytes(self) -> int:
        """Bytes of live tables and memtables."""
        names = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        return sum(self._db.property_int_value(name) or 0 for name in names)

    def close(self) -> None:
        """Flush and close; the object is of no use afterwards."""
        self._db.close()


def move_aside(path: Path) -> Path:
    """Rename a store that cannot be used, so that it is kept for a look; returns its new place."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    shutil.move(str(path), str(aside))
    return aside


def _options(block_cache_bytes: int, write_buffer_bytes: int) -> Options:
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
    table.set_block_cache(Cache(block_cache_bytes))
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
