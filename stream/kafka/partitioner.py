"""The partition of a key: that of Java's default partitioner (murmur2)."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(session_id: str, partitions: int) -> int:
    """The partition to which the producers send a session's events.

    >>> partition_of("a session", 4)
    2
    """
    hashed: int = murmur2(session_id.encode())
    return (hashed & 0x7FFFFFFF) % partitions
