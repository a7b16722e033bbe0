"""Which offsets are in the states: pending in memory while waves are stepped, durable with the states.

The source's thread adds records in offset order; the step threads finish them in whatever order
their waves have. The frontier is the offset below which all are finished. The fence is what is
written with the states in one batch: how far they are, and what recovery needs. The commit's metadata
carries the same to Kafka. Knows its bytes and its checksum.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile

import msgspec

from stream.sessions.watermark import NO_WATERMARK, Watermark

_encoder = msgspec.msgpack.Encoder()


class PendingOffsets:
    """The records of a partition that are read and not taken, each with the watermark before it."""

    def __init__(self) -> None:
        self._untaken: OrderedDict[int, Watermark] = OrderedDict()
        self._read = (0, NO_WATERMARK)
        self._lock = threading.Lock()

    def add(self, offset: int, before: Watermark, after: Watermark) -> None:
        """Notice a record that was read, with the watermarks before and after it; in offset order."""
        with self._lock:
            self._untaken[offset] = before
            self._read = (offset + 1, after)

    def move(self, position: int, watermark: Watermark) -> None:
        """Move the watermark behind the last record without another one."""
        with self._lock:
            self._read = (position, watermark)

    def take(self, offsets: Iterable[int]) -> tuple[int, Watermark]:
        """Take records in → (position, watermark): all below it are taken, the watermark is theirs."""
        with self._lock:
            for offset in offsets:
                del self._untaken[offset]
            return next(iter(self._untaken.items()), self._read)

    def untaken_below(self, top: int) -> list[int]:
        """The offsets below `top` that are not taken, in order."""
        with self._lock:
            return list(takewhile(lambda offset: offset < top, self._untaken))


class CommitMetadata(msgspec.Struct, array_like=True):
    """What travels beside a committed offset: its watermark, recovery's first offset, and that one's."""

    watermark: Watermark
    recover_from: int
    recover_watermark: Watermark


def encode_metadata(fence: AppliedOffsets) -> str:
    """Fence → commit metadata."""
    metadata = CommitMetadata(fence.watermark, fence.recover_from, fence.recover_watermark)
    return msgspec.json.encode(metadata).decode()


def decode_metadata(text: str | None) -> CommitMetadata | None:
    """Commit metadata, None where it is absent or another program's."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=CommitMetadata)
    except msgspec.DecodeError:
        return None


class AppliedOffsets(msgspec.Struct, array_like=True):
    """How far the partition's events are in the states, and where recovery would begin.

    Every event below `position` is in, and of those between it and `top` every one whose offset
    is not in `untaken` (a wave may take an event past one that waits for its session's turn).
    `watermark` is that of the records below `position`. To re-read `events` from
    `recover_from`, where the watermark was `recover_watermark`, gives every kept recent
    item of the `sessions` that are open.
    """

    position: int = 0
    watermark: Watermark = NO_WATERMARK
    top: int = 0
    untaken: list[int] = []
    sessions: int = 0
    recover_from: int = 0
    recover_watermark: Watermark = NO_WATERMARK


class Bucket(msgspec.Struct, array_like=True):
    """A range of offsets: `sessions` open ones have their oldest kept item in it.

    `watermark` is that before its record at `first`, the first one known.
    """

    sessions: int
    watermark: Watermark
    first: int


_applied_decoder = msgspec.msgpack.Decoder(AppliedOffsets)
_bucket_decoder = msgspec.msgpack.Decoder(Bucket)


def pack_applied(fence: AppliedOffsets) -> bytes:
    """Fence → checksum and MessagePack."""
    body = _encoder.encode(fence)
    return zlib.crc32(body).to_bytes(4, "big") + body


def unpack_applied(value: bytes) -> AppliedOffsets:
    """Checksum and MessagePack → Fence. Raises msgspec.DecodeError when they do not match."""
    body = value[4:]
    if zlib.crc32(body).to_bytes(4, "big") != value[:4]:
        raise msgspec.DecodeError("the fence does not match its checksum")
    return _applied_decoder.decode(body)


def pack_bucket(bucket: Bucket) -> bytes:
    """Bucket → MessagePack."""
    return _encoder.encode(bucket)


def unpack_bucket(value: bytes) -> Bucket:
    """MessagePack → Bucket. Raises msgspec.DecodeError on bytes that are none."""
    return _bucket_decoder.decode(value)
