"""Items by what people type, in the words of the shop and of the version in service.

What the shop says of an item is newer than what the version has learned, and is what it is found by: an
item that only the shop knows is found, and one that has another title now is no more found by its old one.
Tested by tests/unit/stream/asking/test_found_items.py.
"""

from __future__ import annotations

from model.inspection.item_search import WORD, Item, ItemSearch, plain
from stream.catalogue.word_search import items_with_words
from stream.wave.serving_model import ModelSlot, ServingModel

# With more items, a misspelt word is not compared with every word.
FEW_ITEMS = 20_000
# The index of an item that the version does not know.
UNKNOWN = -1


class FoundItems:
    """Finds items of the version in service and of the shop. Used by one thread at a time."""

    def __init__(self, live: ModelSlot) -> None:
        self._table = live.catalogue.table
        self._search: tuple[str, int, ItemSearch] | None = None

    def find(self, serving: ServingModel, text: str, limit: int) -> list[Item]:
        """Up to `limit` items: by id, by the whole title, by a part of it, by words, and the popular first.

        Misspelt words are looked for in what the version has learned.
        """
        wanted, titles = plain(text), serving.listable.titles

        def is_said_otherwise(item: Item) -> bool:
            return titles.said(item.item_id) is not None and item.item_id.casefold() != wanted

        few = len(serving.vocabulary) <= FEW_ITEMS
        learned = self.of_version(serving).find(text, limit, misspelt=few, leave_out=is_said_otherwise)
        found = {item.item_id: item for item in learned}
        said = items_with_words(self._table, WORD.findall(wanted))
        if text.strip() in self._table.rows:
            said.append(text.strip())
        for item_id in said:
            found.setdefault(item_id, self.item(serving, item_id))

        def order(item: Item) -> tuple[int, int]:
            return _closeness(wanted, item, titles.get(item.item_id)), -events_of(item, serving)

        return sorted(found.values(), key=order)[:limit]

    def item(self, serving: ServingModel, item_id: str) -> Item:
        """An item by its id, with its newest title; one that the version does not know has no index."""
        index = serving.vocabulary.index.get(item_id, UNKNOWN)
        return Item(index, item_id, serving.listable.titles.get(item_id))

    def of_version(self, serving: ServingModel) -> ItemSearch:
        """The search in what the version has learned, made once."""
        # A version that learns new items between trainings grows.
        key = (serving.version, len(serving.vocabulary))
        kept = self._search
        if kept is None or kept[:2] != key:
            self._search = kept = (*key, ItemSearch(serving.vocabulary))
        return kept[2]


def events_of(item: Item, serving: ServingModel) -> int:
    """Events of an item in the training; 0 of one that came later."""
    counts_V = serving.vocabulary.counts
    return int(counts_V[item.index]) if 0 <= item.index < len(counts_V) else 0


def _closeness(wanted: str, item: Item, title: str | None) -> int:
    """How close an item is to a text, from 0."""
    title = plain(title or "")
    holds = (item.item_id.casefold() == wanted, title == wanted, wanted in title)
    return next((n for n, one in enumerate(holds) if one), len(holds))
