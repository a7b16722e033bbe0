"""The items of the version in service: searched by text, and as causes of a list's places.

Each call uses the version that serves now and names it. Sessions are stepped again from their items,
outside the step threads. Tested by tests/unit/stream/web/test_items.py and tests/browser/test_page.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.config import LIST_LENGTH
from model.inspection.item_search import Item, ItemSearch, session_columns
from model.inspection.leave_one_out import attribute
from model.inspection.proposals import Proposal, proposals
from stream.asking.found_items import FoundItems, events_of
from stream.asking.titles import title_of
from stream.wave.serving_model import ModelSlot, ServingModel

# What it means that a source proposed an item.
WORDS = {
    "network": "the network puts it {rank} of all items",
    "next items": "it often follows {item}",
    "near items": "it is often close to {item}",
    "neighbours": "sessions like this one went on to it",
    "own items": "seen before in this session",
    "next items now": "it follows {item} today",
    "near items now": "it is close to {item} today",
    "popular now": "many look at it now ({rank})",
}

MOST_FOUND = 50


class PageItems:
    """Searches items, and attributes the places of lists to events; one thread for each of the two."""

    def __init__(self, live: ModelSlot) -> None:
        self._live = live
        self._found = FoundItems(live)

    def find(self, text: str, limit: int) -> dict[str, Any]:
        """Items that match the text, best match first; the version's most popular items without a text."""
        serving = self._live.current
        vocabulary = serving.vocabulary
        if text.strip():
            found = self._found.find(serving, text, limit)
        else:
            found = [self._found.of_version(serving).item(int(index)) for index in vocabulary.top(limit)]
        return {
            "model_version": serving.version,
            "catalogue": len(vocabulary),
            "items": [
                {
                    **_item(one, serving),
                    "events": events_of(one, serving),
                    "unlisted": self._live.catalogue.is_unlisted(one.item_id),
                    **self._live.catalogue.said_of(one.item_id),
                }
                for one in found
            ],
        }

    def why(self, item_ids: Sequence[str]) -> dict[str, Any]:
        """The list after these items, and for each place the event that caused it.

        `ranks_without` has the item's rank without each event, None when it is not among the first
        `depth`. Items that the version does not know are ignored. `sources` are those of a fused list
        that proposed the item, each in words, with the place of the event by which it did.
        """
        serving = self._live.current
        search = ItemSearch(serving.vocabulary)
        places = [place for place, item_id in enumerate(item_ids) if item_id in serving.vocabulary.index]
        body: dict[str, Any] = {"model_version": serving.version, "events": len(item_ids), "items": []}
        if not places:
            return {**body, "depth": 0}
        known = [search.item(serving.vocabulary.index[item_ids[place]]) for place in places]
        columns = session_columns(serving.columns, serving.vocabulary, known)
        found = attribute(
            serving.stepper, columns, exclude_items=serving.excludes_session_items, k=LIST_LENGTH
        )
        proposed = proposals(serving.stepper, columns)
        for rank, (index, score) in enumerate(zip(found.items_T, found.scores_T, strict=True), 1):
            # Leaving an unknown item out does not change the rank.
            ranks: list[int | None] = [rank] * len(item_ids)
            for place, without in zip(places, found.ranks_NT[:, rank - 1].tolist(), strict=True):
                ranks[place] = without or None
            cause = found.cause(rank - 1)
            body["items"].append(
                {
                    **_item(search.item(int(index)), serving),
                    "rank": rank,
                    "score": float(score),
                    "cause": None if cause is None else places[cause],
                    "ranks_without": ranks,
                    "sources": [
                        self._in_words(proposal, known, places) for proposal in proposed.get(int(index), [])
                    ],
                }
            )
        return {**body, "depth": found.depth}

    def _in_words(self, proposal: Proposal, known: Sequence[Item], places: Sequence[int]) -> dict[str, Any]:
        named = {"item": "an earlier item", "rank": ordinal(proposal.rank)}
        if proposal.event is not None:
            item = known[proposal.event]
            titles = self._live.current.listable.titles
            named["item"] = f"“{title_of(titles, item.item_id) or item.item_id}”"
        return {
            "source": proposal.source,
            "rank": proposal.rank,
            "event": None if proposal.event is None else places[proposal.event],
            "text": WORDS[proposal.source].format(**named),
        }


def _item(item: Item, serving: ServingModel) -> dict[str, Any]:
    """An item with its newest title, and with the attributes that the version has learned of it.

    Those go into events that the page posts: they are what networks know.
    """
    attributes = {
        name: values[item.item_id]
        for name, values in serving.vocabulary.attributes.items()
        if item.item_id in values
    }
    return {
        "item_id": item.item_id,
        "title": title_of(serving.listable.titles, item.item_id),
        **attributes,
    }


def ordinal(number: int) -> str:
    """A number as a place.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 10 < number % 100 < 14 else ending}"
