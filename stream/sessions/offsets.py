"""Which offsets are in the states: pending in memory while waves are stepped, applied in the store.

The source's thread adds records in offset order; the step threads finish them in the order of their
waves. A partition's position is the offset below which all are finished. The applied offsets are
written with the states in one batch: how far the states are, and where recovery begins. The metadata
of a commit carries the same to Kafka. Both name the topic's id, without which an offset means nothing;
bytes from before ids were kept have none. Knows their bytes and the checksum.
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
    """The records of a partition that are read and not stepped, each with the watermark before it.

    >>> pending = PendingOffsets()
    >>> for offset in range(3):
    ...     pending.add(offset, NO_WATERMARK, NO_WATERMARK)
    >>> pending.finish([0, 2])[0], pending.pending_below(3)
    (1, [1])
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[int, Watermark] = OrderedDict()
        self._read = (0, NO_WATERMARK)
        self._lock = threading.Lock()

    def add(self, offset: int, before: Watermark, after: Watermark) -> None:
        """Add a record that was read, with the watermarks before and after it; in offset order."""
        with self._lock:
            self._pending[offset] = before
            self._read = (offset + 1, after)

    def advance(self, position: int, watermark: Watermark) -> None:
        """Set the position and the watermark after the last record, without a new record."""
        with self._lock:
            self._read = (position, watermark)

    def finish(self, offsets: Iterable[int]) -> tuple[int, Watermark]:
        """Finish records. Returns the position, below which all are finished, and the watermark there."""
        with self._lock:
            for offset in offsets:
                del self._pending[offset]
            return next(iter(self._pending.items()), self._read)

    def pending_below(self, top: int) -> list[int]:
        """The offsets below `top` that are not finished, in order."""
        with self._lock:
            return list(takewhile(lambda offset: offset < top, self._pending))


class CommitMetadata(msgspec.Struct, array_like=True):
    """Beside a committed offset: its watermark, and the offset and watermark at which recovery begins.

    `topic_id` is the id of the topic, "" where it is not known.
    """

    watermark: Watermark
    recover_from: int
    recover_watermark: Watermark
    topic_id: str = ""


def encode_metadata(applied: AppliedOffsets) -> str:
    """Returns the commit metadata of applied offsets."""
    metadata = CommitMetadata(
        applied.watermark, applied.recover_from, applied.recover_watermark, applied.topic_id
    )
    return msgspec.json.encode(metadata).decode()


def decode_metadata(text: str | None) -> CommitMetadata | None:
    """Returns the commit metadata, None when it is absent or another program's.

    >>> decode_metadata(encode_metadata(AppliedOffsets(position=7, recover_from=3))).recover_from
    3
    >>> decode_metadata("another program's") is None
    True
    """
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=CommitMetadata)
    except msgspec.DecodeError:
        return None


class AppliedOffsets(msgspec.Struct, array_like=True):
    """Which of the partition's events are in the states, and where recovery would begin.

    All events below `position` are in the states, and those from `position` to `top` whose offset is
    not in `pending` (a wave may step an event before an earlier one that waits for its session's turn).
    `watermark` follows from the records below `position`. Reading `events` again from
    `recover_from`, where the watermark was `recover_watermark`, restores every recent item of
    the `sessions` that are open. `topic_id` is the id of the topic, "" where it is not known.
    """

    position: int = 0
    watermark: Watermark = NO_WATERMARK
    top: int = 0
    pending: list[int] = []
    sessions: int = 0
    recover_from: int = 0
    recover_watermark: Watermark = NO_WATERMARK
    topic_id: str = ""


class Bucket(msgspec.Struct, array_like=True):
    """A range of offsets, which holds the oldest kept item of `sessions` open sessions.

    `watermark` is the watermark before the record at `first`, the first known one of the range.
    """

    sessions: int
    watermark: Watermark
    first: int


_applied_decoder = msgspec.msgpack.Decoder(AppliedOffsets)
_bucket_decoder = msgspec.msgpack.Decoder(Bucket)


def pack_applied(applied: AppliedOffsets) -> bytes:
    """Returns checksum and MessagePack."""
    body = _encoder.encode(applied)
    return zlib.crc32(body).to_bytes(4, "big") + body


def unpack_applied(value: bytes) -> AppliedOffsets:
    """The inverse of `pack_applied`. Raises msgspec.DecodeError when the checksum does not match.

    >>> unpack_applied(pack_applied(AppliedOffsets(position=7))).position
    7
    """
    body = value[4:]
    if zlib.crc32(body).to_bytes(4, "big") != value[:4]:
        raise msgspec.DecodeError("the fence does not match its checksum")
    return _applied_decoder.decode(body)


def pack_bucket(bucket: Bucket) -> bytes:
    """Returns the bucket as MessagePack."""
    return _encoder.encode(bucket)


def unpack_bucket(value: bytes) -> Bucket:
    """The inverse of `pack_bucket`. Raises msgspec.DecodeError on other bytes."""
    return _bucket_decoder.decode(value)
