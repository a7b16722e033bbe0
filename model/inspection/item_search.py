"""Finds items by id or title, and recommends the next items of a session made of them.

Works for any version with its stepper and vocabulary. The other columns that a network reads get
the values last known of the items. Lists are those that a worker would show.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.stepping.stepper import NumpyColumns, Stepper

SHOWN_CANDIDATES = 10
WORD = re.compile(r"\w+")
CLOSE = 0.75  # likeness of two words, by difflib, that counts as a misspelling
CLOSE_WORDS = 3  # words tried in place of one that no title has


@dataclass(frozen=True)
class Item:
    """An item of a vocabulary; `title` is None if it is unknown."""

    index: int
    item_id: str
    title: str | None

    def __str__(self) -> str:
        return self.item_id if self.title is None else f"{self.item_id}  {self.title}"


@dataclass(frozen=True)
class Recommended:
    """An item of a list: its rank, from 1, and the model's score."""

    rank: int
    item: Item
    score: float


class ItemSearch:
    """Finds items by what people type: an id, a title, or a part of one; case does not matter.

    >>> vocabulary = Vocabulary(["1", "2"], np.array([5, 3]), titles={"1": "Red wine", "2": "White wine"})
    >>> [item.title for item in ItemSearch(vocabulary).find("wine")]
    ['Red wine', 'White wine']
    >>> str(ItemSearch(vocabulary).choose("white"))
    '2  White wine'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def find(
        self,
        text: str,
        limit: int = SHOWN_CANDIDATES,
        *,
        misspelt: bool = True,
        leave_out: Callable[[Item], bool] = lambda item: False,
    ) -> list[Item]:
        """Up to `limit` candidates: the best match first, the most popular first among equals.

        With `misspelt`, words that are nearly right match too; that compares with every word of all titles.
        `leave_out` says which items are none.
        """
        found: dict[int, Item] = {}
        for candidates in self._tiers(text, misspelt):
            items = {index: self.item(index) for index in candidates if index not in found}
            found |= {index: item for index, item in items.items() if not leave_out(item)}
            if len(found) >= limit:
                break
        return list(found.values())[:limit]

    def choose(self, text: str, *, first: bool = False) -> Item:
        """The one item that the text names; with `first`, the most popular of several.

        Raises NextclickError when it names none, or several that match equally well.
        """
        candidates = next((found for found in self._tiers(text) if found), [])
        if not candidates:
            known = (
                "No id is that, and no title has such words."
                if self._vocabulary.titles
                else "No id is that, and this version knows no titles: its training data had none."
            )
            raise NextclickError(
                f"there is no item {text!r} among {len(self._vocabulary):,}",
                known,
                "Give another part of the title, or an item's id.",
            )
        if len(candidates) > 1 and not first:
            shown = "\n".join(f"  {self.item(index)}" for index in candidates[:SHOWN_CANDIDATES])
            more = len(candidates) - SHOWN_CANDIDATES
            raise NextclickError(
                f"{text!r} may be any of {len(candidates):,} items",
                f"They are, most popular first:\n{shown}" + (f"\n  and {more:,} more" if more > 0 else ""),
                "Give the id of the one you mean, or more of its title, or take the first by --first.",
            )
        return self.item(candidates[0])

    def item(self, index: int) -> Item:
        """The item at an index of the vocabulary."""
        item_id = str(self._vocabulary.item_ids[index])
        return Item(index, item_id, self._vocabulary.titles.get(item_id))

    def _tiers(self, text: str, misspelt: bool = True) -> Iterator[list[int]]:
        """Indices from the best kind of match on: id, title, part of a title, its words, close words."""
        wanted = plain(text)
        if not wanted:
            return
        exact = self._vocabulary.index.get(text.strip())
        yield [] if exact is None else [exact]
        yield self._where(
            lambda index: str(self._vocabulary.item_ids[index]).casefold() == wanted, everywhere=True
        )
        yield self._where(lambda index: self._titles[index] == wanted)
        yield self._where(lambda index: wanted in self._titles[index])
        words = WORD.findall(wanted)
        if not words:
            return
        yield self._with_words([[word] for word in words])
        if misspelt:
            yield self._with_words([self._close(word) for word in words])

    def _where(self, holds: Callable[[int], bool], everywhere: bool = False) -> list[int]:
        """The indices for which `holds`, most popular first; with `everywhere`, also without a title."""
        indices = range(len(self._vocabulary)) if everywhere else self._titles
        counts = self._vocabulary.counts
        return sorted((index for index in indices if holds(index)), key=lambda index: -counts[index])

    def _with_words(self, choices: list[list[str]]) -> list[int]:
        """The items with a word of each choice in their title."""
        matching = [set().union(*(self._with_word.get(word, ()) for word in words)) for words in choices]
        inside = set.intersection(*matching)
        return self._where(inside.__contains__)

    def _close(self, word: str) -> list[str]:
        if word in self._with_word:
            return [word]
        return difflib.get_close_matches(word, self._with_word, CLOSE_WORDS, CLOSE)

    @cached_property
    def _titles(self) -> dict[int, str]:
        index = self._vocabulary.index
        return {
            index[item_id]: plain(title)
            for item_id, title in self._vocabulary.titles.items()
            if item_id in index
        }

    @cached_property
    def _with_word(self) -> dict[str, set[int]]:
        """The items whose titles have a word."""
        found: dict[str, set[int]] = {}
        for index, title in self._titles.items():
            for word in WORD.findall(title):
                found.setdefault(word, set()).add(index)
        return found


def plain(text: str) -> str:
    """A text as it is compared: small letters, single spaces."""
    return " ".join(text.casefold().split())


def recommend(
    stepper: Stepper,
    model: ModelVersion,
    items: Sequence[Item],
    *,
    user_id: str | None = None,
    exclude_items: bool | None = None,
) -> list[Recommended]:
    """The stepper's k items after a session of `items`, in this order, best first.

    `exclude_items` leaves the session's own items out; None: as the version does in service. Raises
    ValueError without items.
    """
    if not items:
        raise ValueError("no item to go on from")
    columns = session_columns(model.network.columns, model.vocabulary, items, user_id)
    before = {name: values[:-1] for name, values in columns.items()}
    last = {name: values[-1:] for name, values in columns.items()}
    exclude = None
    if model.config.exclude_session_items if exclude_items is None else exclude_items:
        exclude = columns["item"][None, :]
    ids_1k, scores_1k, _ = stepper.step(last, stepper.rebuild([before]), exclude)
    search = ItemSearch(model.vocabulary)
    return [
        Recommended(rank, search.item(int(index)), float(score))
        for rank, (index, score) in enumerate(zip(ids_1k[0], scores_1k[0], strict=True), 1)
        if index >= 0
    ]


def session_columns(
    names: Iterable[str], vocabulary: Vocabulary, items: Sequence[Item], user_id: str | None = None
) -> NumpyColumns:
    """A session's events as the columns `names` that a network reads; None for unknown values."""
    columns: dict[str, Any] = {"item": np.array([item.index for item in items], np.int64)}
    for name in names:
        if name == "item":
            continue
        known = vocabulary.attributes.get(name, {})
        values = [
            user_id if name == "user_id" else item.title if name == "title" else known.get(item.item_id)
            for item in items
        ]
        columns[name] = np.array([*values, None], dtype=object)[:-1]
    return columns
