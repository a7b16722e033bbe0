"""The partitions of a batch of keys, by murmur2 as Kafka's clients compute it.

numba compiles it at the first call and keeps the code on disk. For a single key
`stream.kafka.partitioner` needs no compiler.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995


def partitions_of(keys: Sequence[bytes], partitions: int) -> npt.NDArray[np.int64]:
    """The partition of each key, (keys,), in a topic with that many `partitions`."""
    joined = np.frombuffer(b"".join(keys), np.uint8)
    ends = np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)))
    found: npt.NDArray[np.int64] = _partitions(joined, ends, partitions)
    return found


@numba.njit(cache=True)
def _partitions(
    joined: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], partitions: int
) -> npt.NDArray[np.int64]:
    # MurmurHash2 by Austin Appleby, in the public domain; Kafka's seed, and its sign bit dropped.
    low = np.uint64(0xFFFFFFFF)
    multiplier = np.uint64(MULTIPLIER)
    found = np.empty(len(ends), np.int64)
    start = 0
    for row in range(len(ends)):
        length = ends[row] - start
        state = np.uint64(SEED) ^ np.uint64(length)
        for block in range(length // 4):
            place = start + 4 * block
            word = np.uint64(0)
            for byte in range(4):
                word |= np.uint64(joined[place + byte]) << np.uint64(8 * byte)
            word = (word * multiplier) & low
            word ^= word >> np.uint64(24)
            word = (word * multiplier) & low
            state = ((state * multiplier) & low) ^ word
        left = length % 4
        if left:
            place = start + length - left
            for byte in range(left):
                state ^= np.uint64(joined[place + byte]) << np.uint64(8 * byte)
            state = (state * multiplier) & low
        state ^= state >> np.uint64(13)
        state = (state * multiplier) & low
        state ^= state >> np.uint64(15)
        found[row] = np.int64(state & np.uint64(0x7FFFFFFF)) % partitions
        start = ends[row]
    return found
