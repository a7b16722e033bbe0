"""The catalogue of the version in service, and what its lists come from, for whoever asks by HTTP.

Each call takes the version that serves now, and says which one that was. Reads only; sessions are
re-stepped from their items, beside the step threads and not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.inspection.item_search import Item, ItemSearch, session_columns
from model.inspection.leave_one_out import attribute
from model.stepping.top_k import LIST_LENGTH
from stream.wave.serving_model import ModelSlot, ServingModel

TITLE_CHARACTERS = 300

MOST_FOUND = 50
# Above as many items a misspelt word is not looked for among all words.
FEW_ITEMS = 20_000


class PageItems:
    """Searches by title and id; attributes lists to events. Used by one thread."""

    def __init__(self, live: ModelSlot) -> None:
        self._live = live
        self._search: tuple[str, int, ItemSearch] | None = None

    def find(self, text: str, limit: int) -> dict[str, Any]:
        """Items that the text may mean, surest first; without text the most popular ones."""
        serving = self._live.current
        vocabulary = serving.vocabulary
        search = self._search_of(serving)
        if text.strip():
            found = search.find(text, limit, misspelt=len(vocabulary) <= FEW_ITEMS)
        else:
            found = [search.item(int(index)) for index in vocabulary.top(limit)]
        return {
            "model_version": serving.version,
            "catalogue": len(vocabulary),
            "items": [{**_item(one, serving), "events": int(vocabulary.counts[one.index])} for one in found],
        }

    def why(self, item_ids: Sequence[str]) -> dict[str, Any]:
        """The list after these items, and for each place the event that caused it.

        `ranks_without` are the item's ranks without each event, None where it is behind `depth`.
        Items that the version does not know have no part in it.
        """
        serving = self._live.current
        search = self._search_of(serving)
        places = [place for place, item_id in enumerate(item_ids) if item_id in serving.vocabulary.index]
        body: dict[str, Any] = {"model_version": serving.version, "events": len(item_ids), "items": []}
        if not places:
            return {**body, "depth": 0}
        known = [search.item(serving.vocabulary.index[item_ids[place]]) for place in places]
        columns = session_columns(serving.columns, serving.vocabulary, known)
        found = attribute(
            serving.stepper, columns, exclude_items=serving.excludes_session_items, k=LIST_LENGTH
        )
        for rank, (index, score) in enumerate(zip(found.items_T, found.scores_T, strict=True), 1):
            # What does not belong to the version leaves the rank as it is.
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
                }
            )
        return {**body, "depth": found.depth}

    def titled(self, item_ids: Sequence[str], scores: Sequence[float]) -> list[dict[str, Any]]:
        """A list's items with their titles and scores."""
        titles = self._live.current.vocabulary.titles
        return [
            {"item_id": item_id, "title": title_of(titles, item_id), "score": float(np.float32(score))}
            for item_id, score in zip(item_ids, scores, strict=True)
        ]

    def _search_of(self, serving: ServingModel) -> ItemSearch:
        # A version that takes up new items between trainings has more of them later.
        key = (serving.version, len(serving.vocabulary))
        if self._search is None or self._search[:2] != key:
            self._search = (*key, ItemSearch(serving.vocabulary))
        return self._search[2]


def _item(item: Item, serving: ServingModel) -> dict[str, Any]:
    """An item with all that is known of it."""
    attributes = {
        name: values[item.item_id]
        for name, values in serving.vocabulary.attributes.items()
        if item.item_id in values
    }
    return {
        "item_id": item.item_id,
        "title": title_of(serving.vocabulary.titles, item.item_id),
        **attributes,
    }


def title_of(titles: dict[str, str], item_id: str, characters: int = TITLE_CHARACTERS) -> str | None:
    """An item's title, cut off where it is long, with nothing in it that is no text; None without one."""
    title = titles.get(item_id)
    if title is None:
        return None
    title = title if len(title) <= characters else f"{title[: characters - 1]}…"
    return title.encode("utf-8", "replace").decode()
