"""Hashes of records: one over each partition in order, one over all records in any order.

A record's digest is a SHA-256; a partition's hash is the SHA-256 of its digests in offset order; the
multiset hash is the sum of all digests modulo 2^256, which does not depend on their order. A file can
keep 6 bytes of every digest, which give the offset of a difference.

Tested by tests/unit/replay/certificates/test_verify.py.
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
# A row of the digest file: partition and first bytes of the record's digest.
ROW = np.dtype([("partition", "<u2"), ("digest", "V6")])
ROWS_READ = 1 << 18


def record_digest(key: bytes, time_ms: int, value: bytes) -> bytes:
    """SHA-256 of "time length-of-key " in ASCII, then the key, then the value.

    >>> record_digest(b"s1", 7, b"{}") == hashlib.sha256(b"7 2 s1{}").digest()
    True
    """
    return hashlib.sha256(b"%d %d %b%b" % (time_ms, len(key), key, value)).digest()


class RecordSums:
    """The hashes of the records added so far.

    >>> digests = [record_digest(b"s", time_ms, b"") for time_ms in (1, 2)]
    >>> forward, backward = RecordSums(1), RecordSums(1)
    >>> forward.add(0, digests[0] + digests[1])
    >>> backward.add(0, digests[1] + digests[0])
    >>> forward.multiset == backward.multiset, forward.ordered(0) == backward.ordered(0)
    (True, False)
    """

    def __init__(self, partitions: int) -> None:
        self._ordered = [hashlib.sha256() for _ in range(partitions)]
        self._sum = 0
        self.counts = [0] * partitions

    def add(self, partition: int, digests: bytes) -> None:
        """Add the next records of a partition by their joined digests, 32 bytes each."""
        words = np.frombuffer(digests, "<u4").reshape(-1, DIGEST_BYTES // 4)
        for place, word in enumerate(words.sum(axis=0, dtype=np.uint64).tolist()):
            self._sum += word << (32 * place)
        self._sum %= 1 << 256
        self._ordered[partition].update(digests)
        self.counts[partition] += len(words)

    def ordered(self, partition: int) -> str:
        """The hash of a partition's records in offset order."""
        return self._ordered[partition].hexdigest()

    @property
    def multiset(self) -> str:
        """The hash of all records in any order."""
        return f"{self._sum:064x}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within this context an OSError becomes the NextclickError that names the certificate's `path`."""
    try:
        yield
    except OSError as error:
        raise NextclickError(
            f"the certificate {path} cannot be written: {error.strerror}",
            "Without it nothing says what was sent.",
            "Make room, or name a file in a folder that exists.",
        ) from None


class DigestFile:
    """Writes the digest file of a certificate, one row a record, in the order of adding.

    The file appears at `path` with `finish`. Raises NextclickError when it cannot be written.
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
        """Append the rows of n records: partitions (n,), joined digests (32 n bytes)."""
        rows = np.empty(len(partitions), ROW)
        rows["partition"] = partitions
        rows["digest"] = shortened(digests)
        with writing(self.path):
            self._file.write(rows.tobytes())

    def finish(self) -> None:
        """Replace the file at `path` by the rows written."""
        with writing(self.path):
            self._file.close()
            self._unfinished.replace(self.path)

    def close(self) -> None:
        """Discard rows that are not finished."""
        # Closing may fail, as buffered rows may not fit on the disk.
        with suppress(OSError):
            self._file.close()
        self._unfinished.unlink(missing_ok=True)


def shortened(digests: bytes) -> npt.NDArray[np.void]:
    """The first 6 bytes of each of n joined digests, (n,)."""
    whole = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
    return np.ascontiguousarray(whole[:, :6]).view("V6").ravel()


def rows_of(path: Path, partition: int) -> Iterator[npt.NDArray[np.void]]:
    """The shortened digests of a partition's records in order, piece by piece of the file."""
    with path.open("rb") as file:
        while piece := file.read(ROWS_READ * ROW.itemsize):
            rows = np.frombuffer(piece[: len(piece) // ROW.itemsize * ROW.itemsize], ROW)
            yield rows["digest"][rows["partition"] == partition]


class ExpectedDigests:
    """The shortened digests of a partition, read row by row; empty when there is no file."""

    def __init__(self, path: Path | None, partition: int) -> None:
        self._pieces = iter(()) if path is None else rows_of(path, partition)
        self._left = np.empty(0, "V6")

    def next(self, count: int) -> npt.NDArray[np.void]:
        """The next `count` rows; fewer at the end."""
        while len(self._left) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._left = np.concatenate([self._left, piece])
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def first_difference(digests: bytes, expected: npt.NDArray[np.void]) -> int | None:
    """The row of the first joined digest that differs from the expected one; None when all agree."""
    found = shortened(digests)[: len(expected)]
    different = np.flatnonzero(found != expected[: len(found)])
    return int(different[0]) if len(different) else None
