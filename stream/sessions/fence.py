"""How far a partition's events are in its states, and what recovery needs to know.

Written with the states it speaks of, in one batch. Knows its bytes and its checksum.
"""

from __future__ import annotations

import zlib

import msgspec

from stream.sessions.watermark import NO_WATERMARK, Watermark


class Fence(msgspec.Struct, array_like=True):
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


_encoder = msgspec.msgpack.Encoder()
_fence_decoder = msgspec.msgpack.Decoder(Fence)
_bucket_decoder = msgspec.msgpack.Decoder(Bucket)


def pack_fence(fence: Fence) -> bytes:
    """Fence → checksum and MessagePack."""
    body = _encoder.encode(fence)
    return zlib.crc32(body).to_bytes(4, "big") + body


def unpack_fence(value: bytes) -> Fence:
    """Checksum and MessagePack → Fence. Raises msgspec.DecodeError when they do not match."""
    body = value[4:]
    if zlib.crc32(body).to_bytes(4, "big") != value[:4]:
        raise msgspec.DecodeError("the fence does not match its checksum")
    return _fence_decoder.decode(body)


def pack_bucket(bucket: Bucket) -> bytes:
    """Bucket → MessagePack."""
    return _encoder.encode(bucket)


def unpack_bucket(value: bytes) -> Bucket:
    """MessagePack → Bucket. Raises msgspec.DecodeError on bytes that are none."""
    return _bucket_decoder.decode(value)
