"""Pieces of bytes by row, one after the other in blocks: an object for each would be half as large again.

What a row has no more stays in its block until too much does: then the block that has most of it is given
up, and what rows still have of it goes to the newest one. So no change waits longer than for one block.
Tested by tests/unit/stream/catalogue/test_packed_texts.py.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FIRST_ROWS = 1024
# Looked through at a time: less than a millisecond, in which no other thread goes on. A longer text has its
# own block.
BLOCK_BYTES = 1 << 18
# Left unused at most: as many bytes, or one of so many.
LEAST_UNUSED_BYTES, UNUSED_ONE_OF = 1 << 20, 8
# A place is the number of a block, never given twice, and the slot in it.
SLOT_BITS = 32
NOWHERE = -1
Rows = npt.NDArray[np.int64]


class Block:
    """Bytes of rows, by slot: where they end, how many of the first may be looked for, and whose they are."""

    __slots__ = ("bytes", "ends", "heads", "rows", "unused")

    def __init__(self, size: int) -> None:
        # Of this size for ever: readers may hold it.
        self.bytes = bytearray(size)
        self.rows, self.heads, self.ends = array("i"), array("i"), array("i")
        self.unused = 0

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def append(self, row: int, text: bytes, head: int) -> int:
        """Put a text, which there is room for, after the last one. Returns its slot."""
        begin = len(self)
        self.bytes[begin : begin + len(text)] = text
        self.rows.append(row)
        self.heads.append(head)
        # Last: a reader of the ends finds all the rest.
        self.ends.append(begin + len(text))
        return len(self.ends) - 1

    def get(self, slot: int) -> bytes:
        """The bytes of a slot."""
        return bytes(self.bytes[self.ends[slot - 1] if slot else 0 : self.ends[slot]])

    def rows_with(self, parts: Sequence[bytes], anywhere: re.Pattern[bytes]) -> Rows:
        """The rows in whose heads one of `parts` begins, which `anywhere` finds."""
        # Copies: an array that somebody looks into cannot grow.
        ends_S, heads_S, rows_S = (
            np.frombuffer(column[:], np.int32) for column in (self.ends, self.heads, self.rows)
        )
        small = self.bytes.lower()
        if not any(part in small for part in parts):
            return np.zeros(0, np.int64)
        at_F = np.array([hit.start() for hit in anywhere.finditer(small)], np.int64)
        at_F = at_F[at_F < (ends_S[-1] if len(ends_S) else 0)]
        slot_F = np.searchsorted(ends_S, at_F, side="right")
        begins_S = np.concatenate([[0], ends_S])
        found: Rows = rows_S[slot_F[at_F - begins_S[slot_F] < heads_S[slot_F]]].astype(np.int64)
        return found


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
        self._places_R = np.full(FIRST_ROWS, NOWHERE, np.int64)
        self._newest, self._blocks = 0, {0: Block(BLOCK_BYTES)}
        # Of all blocks.
        self._bytes, self._unused = BLOCK_BYTES, 0

    def __len__(self) -> int:
        return self._bytes

    def get(self, row: int) -> bytes:
        """The bytes of a row, none where nothing was put."""
        while row < len(self._places_R):
            place = int(self._places_R[row])
            if place == NOWHERE:
                break
            block = self._blocks.get(place >> SLOT_BITS)
            # Without its block it has gone to another place meanwhile.
            if block is not None:
                return block.get(_slot(place))
        return b""

    def put(self, row: int, text: bytes, head: int = 0) -> None:
        """Replace the bytes of a row; the first `head` of them may be looked for."""
        if row >= len(self._places_R):
            grown_R = np.full(max(row + 1, len(self._places_R) * 5 // 4), NOWHERE, np.int64)
            grown_R[: len(self._places_R)] = self._places_R
            self._places_R = grown_R
        before, place = self.get(row), int(self._places_R[row])
        if before == text:
            return
        self._places_R[row] = self._append(row, text, head) if text else NOWHERE
        if place != NOWHERE:
            self._blocks[place >> SLOT_BITS].unused += len(before)
            self._unused += len(before)
        if self._unused > max(LEAST_UNUSED_BYTES, self._bytes // UNUSED_ONE_OF):
            self._give_up(max(self._blocks, key=lambda number: self._blocks[number].unused))

    def rows_with(self, parts: Sequence[bytes]) -> Rows:
        """The rows in whose heads one of `parts` may begin, in whatever case, ascending.

        ASCII letters of `parts` are small. "May", since a row changes meanwhile or had another head, and a
        part may reach from one row into the next.

        >>> texts = PackedTexts()
        >>> texts.put(3, b"White mug, blue", head=9)
        >>> texts.rows_with([b"mug"]).tolist(), texts.rows_with([b"blue"]).tolist()
        ([3], [])
        """
        anywhere = re.compile(b"|".join(map(re.escape, parts)))
        # Those of now: what goes from one to a later one is still in the first.
        blocks = list(self._blocks.values())
        return np.unique(np.concatenate([block.rows_with(parts, anywhere) for block in blocks]))

    def _append(self, row: int, text: bytes, head: int) -> int:
        block = self._blocks[self._newest]
        if len(block) + len(text) > len(block.bytes):
            block = self._add_block(max(BLOCK_BYTES, len(text)))
        return self._newest << SLOT_BITS | block.append(row, text, head)

    def _add_block(self, size: int) -> Block:
        added = Block(size)
        # In this order: whoever finds the place finds the block.
        self._blocks[self._newest + 1] = added
        self._newest += 1
        self._bytes += size
        return added

    def _give_up(self, number: int) -> None:
        """Bring what rows still have of a block into the newest one, and forget it."""
        if number == self._newest:
            self._add_block(BLOCK_BYTES)
        block = self._blocks[number]
        for slot, row in enumerate(block.rows):
            if self._places_R[row] == number << SLOT_BITS | slot:
                self._places_R[row] = self._append(row, block.get(slot), block.heads[slot])
        del self._blocks[number]
        self._bytes -= len(block.bytes)
        self._unused -= block.unused


def _slot(place: int) -> int:
    return place & ((1 << SLOT_BITS) - 1)
