"""Titles of items, as answers have them. Tested by tests/unit/stream/web/test_items.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stream.catalogue.item_titles import Titles

TITLE_CHARACTERS = 300


def titled(titles: Titles, item_ids: Sequence[str], scores: Iterable[float]) -> list[dict[str, Any]]:
    """The items of a list with titles and scores.

    >>> titled({"sku-1": "White mug"}, ["sku-1"], [0.5])
    [{'item_id': 'sku-1', 'title': 'White mug', 'score': 0.5}]
    """
    return [
        {"item_id": item_id, "title": title_of(titles, item_id), "score": float(np.float32(score))}
        for item_id, score in zip(item_ids, scores, strict=True)
    ]


def title_of(titles: Titles, item_id: str, characters: int = TITLE_CHARACTERS) -> str | None:
    """The title of an item, cut to `characters`, lone surrogates replaced; None without a title.

    >>> title_of({"sku-1": "White mug"}, "sku-1", characters=6)
    'White…'
    """
    title = titles.get(item_id)
    if title is None:
        return None
    title = title if len(title) <= characters else f"{title[: characters - 1]}…"
    return title.encode("utf-8", "replace").decode()
