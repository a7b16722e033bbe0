"""Hashes of records that are taken in order: one over each partition, one over all in any order.

A record's digest is the SHA-256 of what is given; a partition's hash is the SHA-256 of its
digests in offset order; the multiset hash is the sum of all digests modulo 2^256, which no
order changes. Beside them a file can keep 6 bytes of every digest, so that a difference is
found at its very offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

from model.errors import NextclickError

DIGEST_BYTES = 32
# Of a row in the file: its partition, and the first bytes of the record's digest.
ROW = np.dtype([("partition", "<u2"), ("digest", "V6")])
ROWS_READ = 1 << 18


def record_digest(key: bytes, time_ms: int, value: bytes) -> bytes:
    """SHA-256 of "time length-of-key " in ASCII, then the key, then the value."""
    return hashlib.sha256(b"%d %d %b%b" % (time_ms, len(key), key, value)).digest()


class RecordSums:
    """The hashes of the records taken so far."""

    def __init__(self, partitions: int) -> None:
        self._ordered = [hashlib.sha256() for _ in range(partitions)]
        self._sum = 0
        self.counts = [0] * partitions

    def take(self, partition: int, digests: bytes) -> None:
        """Take the next records of a partition: their digests (32 bytes each), joined."""
        words = np.frombuffer(digests, "<u4").reshape(-1, DIGEST_BYTES // 4)
        for place, word in enumerate(words.sum(axis=0, dtype=np.uint64).tolist()):
            self._sum += word << (32 * place)
        self._sum %= 1 << 256
        self._ordered[partition].update(digests)
        self.counts[partition] += len(words)

    def ordered(self, partition: int) -> str:
        """The hash of a partition's records in their order."""
        return self._ordered[partition].hexdigest()

    @property
    def multiset(self) -> str:
        """The hash of all records, whatever their order."""
        return f"{self._sum:064x}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Part of a certificate is written to `path`. Raises NextclickError where it cannot be."""
    try:
        yield
    except OSError as error:
        raise NextclickError(
            f"the certificate {path} cannot be written: {error.strerror}",
            "Without it nothing says what was sent.",
            "Make room, or name a file in a folder that exists.",
        ) from None


class DigestFile:
    """The rows of a certificate's records on disk, in the order they were taken.

    They appear at `path` by `finish`. Raises NextclickError where they cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished = path.with_name(f".{path.name}.unfinished")
        with writing(path):
            self._file: IO[bytes] = self._unfinished.open("wb")

    def __enter__(self) -> DigestFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, partitions: npt.NDArray[np.int64], digests: bytes) -> None:
        """Append the records' rows: partitions (n,), digests joined (32 n)."""
        rows = np.empty(len(partitions), ROW)
        rows["partition"] = partitions
        rows["digest"] = shortened(digests)
        with writing(self.path):
            self._file.write(rows.tobytes())

    def finish(self) -> None:
        """Put the rows in the place of those that were there."""
        with writing(self.path):
            self._file.close()
            self._unfinished.replace(self.path)

    def close(self) -> None:
        """Give up what is not finished."""
        # What is still buffered may find no room.
        with suppress(OSError):
            self._file.close()
        self._unfinished.unlink(missing_ok=True)


def shortened(digests: bytes) -> npt.NDArray[np.void]:
    """The first 6 bytes of each joined digest, (n,)."""
    whole = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
    return np.ascontiguousarray(whole[:, :6]).view("V6").ravel()


def rows_of(path: Path, partition: int) -> Iterator[npt.NDArray[np.void]]:
    """The shortened digests of a partition's records in their order, in pieces; the file is streamed."""
    with path.open("rb") as file:
        while piece := file.read(ROWS_READ * ROW.itemsize):
            rows = np.frombuffer(piece[: len(piece) // ROW.itemsize * ROW.itemsize], ROW)
            yield rows["digest"][rows["partition"] == partition]


class Expected:
    """What a partition's next records are to be, row by row; nothing where there is no file."""

    def __init__(self, path: Path | None, partition: int) -> None:
        self._pieces = iter(()) if path is None else rows_of(path, partition)
        self._left = np.empty(0, "V6")

    def next(self, count: int) -> npt.NDArray[np.void]:
        """The next rows, at most `count`, fewer at the end."""
        while len(self._left) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._left = np.concatenate([self._left, piece])
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def first_difference(digests: bytes, expected: npt.NDArray[np.void]) -> int | None:
    """The first of the joined digests that is not the expected one; None where all known ones are."""
    found = shortened(digests)[: len(expected)]
    different = np.flatnonzero(found != expected[: len(found)])
    return int(different[0]) if len(different) else None
