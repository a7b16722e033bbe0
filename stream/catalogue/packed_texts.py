"""Pieces of bytes by row, one after the other in one block: an object for each would be half as large again.

Tested by tests/unit/stream/catalogue/test_item_table.py.
"""

from __future__ import annotations

import numpy as np

FIRST_ROWS = 1024
LEAST_COMPACTED_BYTES = 1 << 20


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

    def __len__(self) -> int:
        return len(self._block)

    def get(self, row: int) -> bytes:
        """The bytes of a row, none where nothing was put."""
        block, places_R2 = self._block, self._places_R2
        if row >= len(places_R2):
            return b""
        begin, end = places_R2[row].tolist()
        return bytes(block[begin:end])

    def put(self, row: int, text: bytes) -> None:
        """Replace the bytes of a row."""
        if row >= len(self._places_R2):
            grown_R2 = np.zeros((max(row + 1, len(self._places_R2) * 5 // 4), 2), np.int64)
            grown_R2[: len(self._places_R2)] = self._places_R2
            self._places_R2 = grown_R2
        before = self.get(row)
        if before == text:
            return
        begin = len(self._block)
        self._block += text
        self._places_R2[row] = begin, begin + len(text)
        self._unused += len(before)
        if self._unused > max(LEAST_COMPACTED_BYTES, len(self._block) // 3):
            self._compact()

    def _compact(self) -> None:
        """Leave out the bytes that no row has any more."""
        block, places_R2 = bytearray(), self._places_R2.copy()
        for row, (begin, end) in enumerate(self._places_R2.tolist()):
            places_R2[row] = len(block), len(block) + end - begin
            block += self._block[begin:end]
        self._block, self._places_R2, self._unused = block, places_R2, 0
