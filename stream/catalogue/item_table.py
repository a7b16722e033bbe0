"""The newest word about each item, in columns: lean enough for a million items in each worker.

Numbers lie in arrays, brands and categories are numbered, and titles and attributes lie in blocks. The
addresses of image and page are left in the topic, since no list needs them. One thread writes, others may
read a row meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from stream.catalogue.item_word import SEPARATOR, ItemWord
from stream.catalogue.packed_texts import PackedTexts, Rows

FIRST_ROWS = 1024
NEVER = np.iinfo(np.int64).max
NONE = -1
# Numbers of forgotten names that wait before the first is given anew, so that a reader who has just read
# the number finds no other name there.
REUSED_AFTER = 1024
Attributes = dict[str, str | float | bool]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str | None, Attributes | None])


class Names:
    """Numbers for names that many items share, each kept while an item has it.

    With a `separator` names are paths, and a path keeps those above it. One thread takes and gives back.

    >>> names = Names()
    >>> names.take("mugs"), names.take("bowls"), names.take("mugs"), names.take(None)
    (0, 1, 0, -1)
    >>> names.give_back(1)
    >>> names.number("mugs"), names.number("bowls"), len(names)
    (0, -1, 1)
    """

    def __init__(self, separator: str | None = None) -> None:
        # By number; None where a number is free.
        self.names: list[str | None] = []
        self._separator = separator
        self._numbers: dict[str, int] = {}
        self._uses: list[int] = []
        self._free: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, name: str | None) -> int:
        """The number of a name that one more item has, a new one for a new name; NONE for None."""
        if name is None:
            return NONE
        number = self._numbers.get(name)
        if number is None:
            if len(self._free) > REUSED_AFTER:
                number = self._free.popleft()
            else:
                number = len(self.names)
                self.names.append(None)
                self._uses.append(0)
            self.names[number] = name
            self._numbers[name] = number
            self.take(self._above(name))
        self._uses[number] += 1
        return number

    def give_back(self, number: int) -> None:
        """One item less has the name of a number; without any the name is forgotten."""
        if number == NONE:
            return
        self._uses[number] -= 1
        if self._uses[number]:
            return
        name, self.names[number] = self.names[number], None
        assert name is not None
        del self._numbers[name]
        self._free.append(number)
        self.give_back(self.number(self._above(name)))

    def numbers_with(self, part: str) -> list[int]:
        """The numbers of names that have a part, in whatever case."""
        part = part.casefold()
        return [n for n, name in enumerate(list(self.names)) if name is not None and part in name.casefold()]

    def number(self, name: str | None) -> int:
        """The number of a name, NONE where no item has it."""
        return NONE if name is None else self._numbers.get(name, NONE)

    def name(self, number: int) -> str | None:
        """The name of a number; None of one that another thread has just given back."""
        return None if number == NONE else self.names[number]

    def _above(self, name: str) -> str | None:
        if self._separator is None or self._separator not in name:
            return None
        return name.rpartition(self._separator)[0]


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
        self.brands, self.categories = Names(), Names(SEPARATOR)
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

    def rows_with_name(self, part: str) -> Rows:
        """The rows whose brand or category has a part, in whatever case."""
        # Rows beyond the last item have the number 0.
        rows = len(self._ids)
        of_brand = np.isin(self.brand_R[:rows], self.brands.numbers_with(part))
        return np.flatnonzero(of_brand | np.isin(self.category_R[:rows], self.categories.numbers_with(part)))

    def rows_with_title(self, parts: Sequence[bytes]) -> Rows:
        """The rows whose title may have one of `parts`, see `PackedTexts.rows_with`."""
        return self._details.rows_with(parts)

    def searched_text(self, row: int) -> str:
        """Title, brand and category of a row in small letters, a line each."""
        title, _ = self.details(row)
        brand = self.brands.name(int(self.brand_R[row]))
        category = self.categories.name(int(self.category_R[row]))
        return "\n".join(part for part in (title, brand, category) if part).casefold()

    def put(self, item_id: str, word: ItemWord) -> int:
        """Replace the word about an item. Returns its row."""
        row = self.rows.get(item_id)
        if row is None:
            row = self._free.pop() if self._free else self._new_row()
        # Before the earlier ones are given back: a name that changed has another number.
        brand, category = self.brands.take(word.brand), self.categories.take(word.category_path)
        self.available_R[row] = word.available
        self.from_ms_R[row] = NONE if word.available_from_ms is None else word.available_from_ms
        self.until_ms_R[row] = NEVER if word.available_until_ms is None else word.available_until_ms
        self.price_R[row] = np.nan if word.price is None else word.price
        self._name(row, brand, category)
        # The title comes after one byte that says that there are two parts.
        title_end = 1 + len(_encoder.encode(word.title)) if word.title else 0
        self._details.put(row, _encoder.encode((word.title, word.attributes)), title_end)
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
        self._name(row, NONE, NONE)
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
        """Title and attributes of a row; none of one that another thread has just emptied."""
        packed = self._details.get(row)
        return _decoder.decode(packed) if packed else (None, None)

    def _name(self, row: int, brand: int, category: int) -> None:
        """Give a row these numbers instead of those it has."""
        before = int(self.brand_R[row]), int(self.category_R[row])
        self.brand_R[row], self.category_R[row] = brand, category
        self.brands.give_back(before[0])
        self.categories.give_back(before[1])

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
        self.brand_R[row], self.category_R[row] = NONE, NONE
        return row
