"""Items by words of their titles, brands and categories, as the shop says them now.

Looks through the table as it is: no index is made, so that none has to follow 10,000 changes a second, or
takes a second room for a million titles. Of those it takes a fraction of a second, block by block.
Tested by tests/unit/stream/catalogue/test_word_search.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.catalogue.item_table import ItemTable

# Items with all words that are read one by one: it bounds the time of an answer.
MOST_READ = 20_000


def items_with_words(table: ItemTable, words: Sequence[str], most: int = MOST_READ) -> list[str]:
    """The items that have every word, whole or as a part of one, in their title, brand or category.

    `words` in whatever case. Of more than `most` items with these words, the first ones in the table. A
    word of one letter is looked for only where other words are, or nearly every item would be found.

    >>> table = ItemTable()
    >>> row = table.put("sku-1", ItemWord(title="White mug", brand="Acme", category="home/kitchen"))
    >>> row = table.put("sku-2", ItemWord(title="Blue mug", brand="Acme"))
    >>> items_with_words(table, ["mugs"]), items_with_words(table, ["ACME", "kitch"])
    ([], ['sku-1'])
    """
    sought = {word for word in words if len(word.encode("utf-8", "replace")) > 1}
    if not sought:
        return []
    rows = None
    for word in sorted(sought):
        found = np.union1d(table.rows_with_title(_spellings(word)), table.rows_with_name(word))
        rows = found if rows is None else np.intersect1d(rows, found, assume_unique=True)
        if not len(rows):
            return []
    assert rows is not None
    items, folded = list[str](), [word.casefold() for word in words]
    for row in rows[:most].tolist():
        item_id, text = table.id_of(row), table.searched_text(row)
        # It may have changed meanwhile.
        if item_id is not None and all(word in text for word in folded):
            items.append(item_id)
    return items


def _spellings(word: str) -> list[bytes]:
    """The word in small letters, in capitals and with one capital, ASCII letters small in all of them."""
    spelt = (word.lower(), word.upper(), word.capitalize(), word.casefold())
    return list(dict.fromkeys(one.encode("utf-8", "replace").lower() for one in spelt))
