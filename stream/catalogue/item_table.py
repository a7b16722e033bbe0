"""The newest word about each item, in columns: lean enough for a million items in each worker.

Numbers lie in arrays, brands and categories are numbered, and titles and attributes lie in one block. The
addresses of image and page are left in the topic, since no list needs them. One thread writes, others may
read a row meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from stream.catalogue.item_word import ItemWord
from stream.catalogue.packed_texts import PackedTexts

FIRST_ROWS = 1024
NEVER = np.iinfo(np.int64).max
NONE = -1
Attributes = dict[str, str | float | bool]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str | None, Attributes | None])


class Names:
    """Numbers for names that many items share.

    >>> names = Names()
    >>> names.number("mugs"), names.number("bowls"), names.number("mugs"), names.number(None)
    (0, 1, 0, -1)
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        # Several threads ask for groups; two must not give a new name a number each.
        self._lock = threading.Lock()

    def number(self, name: str | None) -> int:
        """The number of a name, a new one for a new name; NONE for None."""
        if name is None:
            return NONE
        number = self._numbers.get(name)
        if number is None:
            with self._lock:
                number = self._numbers.get(name)
                if number is None:
                    self.names.append(name)
                    number = self._numbers[name] = len(self.names) - 1
        return number

    def name(self, number: int) -> str | None:
        """The name of a number."""
        return None if number == NONE else self.names[number]


class ItemTable:
    """Rows of items by id; a row that a removed item leaves goes to a later one.

    `unlisted_R` and `due_ms_R` are the catalogue's: whether no list may have the item, and when that is
    to be judged again.

    >>> table = ItemTable()
    >>> table.put("sku-1", ItemWord(title="White mug", brand="Acme", price=12.5))
    0
    >>> table.word("sku-1").brand, len(table), table.remove("sku-1"), table.word("sku-1")
    ('Acme', 1, True, None)
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.brands, self.categories = Names(), Names()
        self._ids: list[str | None] = []
        self._details = PackedTexts()
        self._free: list[int] = []
        self.available_R = np.zeros(FIRST_ROWS, np.bool_)
        self.from_ms_R = np.zeros(FIRST_ROWS, np.int64)
        self.until_ms_R = np.zeros(FIRST_ROWS, np.int64)
        self.price_R = np.zeros(FIRST_ROWS, np.float64)
        self.brand_R = np.zeros(FIRST_ROWS, np.int32)
        self.category_R = np.zeros(FIRST_ROWS, np.int32)
        self.unlisted_R = np.zeros(FIRST_ROWS, np.bool_)
        self.due_ms_R = np.full(FIRST_ROWS, NEVER, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self) -> Iterator[str]:
        """The items about which there is a word."""
        yield from list(self.rows)

    def id_of(self, row: int) -> str | None:
        """The item of a row, None where it is free."""
        return self._ids[row]

    def ids_in(self, categories: Sequence[int]) -> list[str]:
        """The items whose category is one of these numbers."""
        # Rows beyond the last item have the category 0.
        rows = np.flatnonzero(np.isin(self.category_R[: len(self._ids)], categories))
        return [item for row in rows.tolist() if (item := self._ids[row]) is not None]

    def put(self, item_id: str, word: ItemWord) -> int:
        """Replace the word about an item. Returns its row."""
        row = self.rows.get(item_id)
        if row is None:
            row = self._free.pop() if self._free else self._new_row()
        self.available_R[row] = word.available
        self.from_ms_R[row] = NONE if word.available_from_ms is None else word.available_from_ms
        self.until_ms_R[row] = NEVER if word.available_until_ms is None else word.available_until_ms
        self.price_R[row] = np.nan if word.price is None else word.price
        self.brand_R[row] = self.brands.number(word.brand)
        self.category_R[row] = self.categories.number(word.category_path)
        self._details.put(row, _encoder.encode((word.title, word.attributes)))
        self._ids[row] = item_id
        # Last: whoever finds the row finds the word.
        self.rows[item_id] = row
        return row

    def remove(self, item_id: str) -> bool:
        """Take the word about an item back. Returns whether there was one."""
        row = self.rows.pop(item_id, None)
        if row is None:
            return False
        self._ids[row] = None
        self._details.put(row, b"")
        self.unlisted_R[row], self.due_ms_R[row] = False, NEVER
        self._free.append(row)
        return True

    def word(self, item_id: str) -> ItemWord | None:
        """The word about an item without image and page, None where there is none."""
        row = self.rows.get(item_id)
        if row is None:
            return None
        title, attributes = self.details(row)
        from_ms, until_ms, price = int(self.from_ms_R[row]), int(self.until_ms_R[row]), self.price_R[row]
        return ItemWord(
            title,
            self.brands.name(int(self.brand_R[row])),
            self.categories.name(int(self.category_R[row])),
            None if np.isnan(price) else float(price),
            bool(self.available_R[row]),
            None if from_ms == NONE else from_ms,
            None if until_ms == NEVER else until_ms,
            attributes,
        )

    def details(self, row: int) -> tuple[str | None, Attributes | None]:
        """Title and attributes of a row."""
        return _decoder.decode(self._details.get(row))

    def _new_row(self) -> int:
        row = len(self._ids)
        if row == len(self.available_R):
            for name, column in list(vars(self).items()):
                if isinstance(column, np.ndarray):
                    grown = np.zeros(row + max(FIRST_ROWS, row // 4), column.dtype)
                    grown[:row] = column
                    setattr(self, name, grown)
            self.due_ms_R[row:] = NEVER
        self._ids.append(None)
        return row
