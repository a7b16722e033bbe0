"""Pieces of bytes by row, one after the other in one block: an object for each would be half as large again.

Tested by tests/unit/stream/catalogue/test_item_table.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FIRST_ROWS = 1024
LEAST_COMPACTED_BYTES = 1 << 20
# Looked through at a time: about a tenth of a millisecond, in which no other thread goes on.
PIECE_BYTES = 1 << 18
Rows = npt.NDArray[np.int64]


class PackedTexts:
    """One thread writes; others may read a row meanwhile, and get what it was or is.

    >>> texts = PackedTexts()
    >>> texts.put(0, b"White mug")
    >>> texts.put(1, b"Bowl")
    >>> texts.put(0, b"Mug")
    >>> texts.get(0), texts.get(1), texts.get(2)
    (b'Mug', b'Bowl', b'')
    """

    def __init__(self) -> None:
        self._block, self._unused = bytearray(), 0
        # Begin and end of each row's bytes.
        self._places_R2 = np.zeros((FIRST_ROWS, 2), np.int64)
        # How many of them `rows_with` looks at.
        self._heads_R = np.zeros(FIRST_ROWS, np.int32)

    def __len__(self) -> int:
        return len(self._block)

    def get(self, row: int) -> bytes:
        """The bytes of a row, none where nothing was put."""
        block, places_R2 = self._block, self._places_R2
        if row >= len(places_R2):
            return b""
        begin, end = places_R2[row].tolist()
        return bytes(block[begin:end])

    def put(self, row: int, text: bytes, head: int = 0) -> None:
        """Replace the bytes of a row; the first `head` of them may be looked for."""
        if row >= len(self._places_R2):
            rows = max(row + 1, len(self._places_R2) * 5 // 4)
            grown_R2, grown_R = np.zeros((rows, 2), np.int64), np.zeros(rows, np.int32)
            grown_R2[: len(self._places_R2)] = self._places_R2
            grown_R[: len(self._heads_R)] = self._heads_R
            self._places_R2 = grown_R2
            self._heads_R = grown_R
        self._heads_R[row] = head
        before = self.get(row)
        if before == text:
            return
        begin = len(self._block)
        self._block += text
        self._places_R2[row] = begin, begin + len(text)
        self._unused += len(before)
        if self._unused > max(LEAST_COMPACTED_BYTES, len(self._block) // 3):
            self._compact()

    def rows_with(self, parts: Sequence[bytes]) -> Rows:
        """The rows in whose heads one of `parts` may begin, in whatever case, ascending.

        ASCII letters of `parts` are small. "May", since a row changes meanwhile, and a part may reach from
        one row into the next.

        >>> texts = PackedTexts()
        >>> texts.put(3, b"White mug, blue", head=9)
        >>> texts.rows_with([b"mug"]).tolist(), texts.rows_with([b"blue"]).tolist()
        ([3], [])
        """
        # In this order: the places are of this block, and there are as many as heads, or more.
        heads_R = self._heads_R.copy()
        block, places_R2 = self._block, self._places_R2.copy()
        rows = np.flatnonzero(heads_R)
        if not len(rows):
            return rows
        rows = rows[np.argsort(places_R2[rows, 0], kind="stable")]
        begins = places_R2[rows, 0]
        longest, found = max(map(len, parts)), [np.zeros(0, np.int64)]
        anywhere = re.compile(b"|".join(map(re.escape, parts)))
        for begin in range(0, len(block), PIECE_BYTES):
            # Pieces overlap, so that a part is whole in one of them.
            piece = block[begin : begin + PIECE_BYTES + longest - 1].lower()
            at_F = np.array([hit.start() for hit in anywhere.finditer(piece)], np.int64) + begin
            of_F = rows[np.searchsorted(begins, at_F, side="right") - 1]
            # Behind the head of a row there are bytes that are not looked for, or that no row has any more.
            into_F = at_F - places_R2[of_F, 0]
            found.append(np.unique(of_F[(into_F >= 0) & (into_F < heads_R[of_F])]))
        return np.unique(np.concatenate(found))

    def _compact(self) -> None:
        """Leave out the bytes that no row has any more."""
        block, places_R2 = bytearray(), self._places_R2.copy()
        for row, (begin, end) in enumerate(self._places_R2.tolist()):
            places_R2[row] = len(block), len(block) + end - begin
            block += self._block[begin:end]
        self._block, self._places_R2, self._unused = block, places_R2, 0
