"""Where a key lies: the partition that Java's default partitioner gives it."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(session_id: str, partitions: int) -> int:
    """Where the producers put a session's events: Java's hash of the key (murmur2)."""
    hashed: int = murmur2(session_id.encode())
    return (hashed & 0x7FFFFFFF) % partitions
