"""The shop's items as a worker knows them now, and which of them no list may have.

A version is told which items changed (see `follow`), and asks `is_unlisted` about each. Words are
applied in the order of the topic; `position` says up to which one they are. Whether an item is
available goes by the wall clock: a sale ends when it ends, however old the events are that a worker
steps at the time.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from stream.catalogue.item_table import NEVER, ItemTable
from stream.catalogue.item_word import ItemWord

Word = tuple[str, ItemWord | None]


class Follower(Protocol):
    """What obeys the catalogue."""

    def items_changed(self, item_ids: Iterable[str]) -> None:
        """Ask again about these items. Called with the catalogue's lock held, by one thread at a time."""


@dataclass
class Reading:
    """How far the topic is read: words, those rejected by reason, records not read yet, when asked last.

    `lag` is None where there is no topic; `checked_s` is the wall time of the brokers' last answer.
    """

    words: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    lag: int | None = None
    checked_s: float = 0.0


class Catalogue:
    """The table of items and its followers; without a word and a rule every item may be listed.

    >>> catalogue = Catalogue(now_ms=lambda: 5_000)
    >>> catalogue.apply([("sku-1", ItemWord(available=False)), ("sku-2", ItemWord())], "0-2")
    >>> [catalogue.is_unlisted(item) for item in ("sku-1", "sku-2", "unheard-of")]
    [True, False, False]
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.table = ItemTable()
        self.reading = Reading()
        self.position = ""
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet, so that every item may be listed."""
        return not self.position

    def report(self) -> dict[str, Any] | None:
        """What is known of the items, None where there is no topic of them."""
        reading = self.reading
        if reading.lag is None:
            return None
        return {
            "known": len(self.table),
            "unlisted": self.unlisted,
            "words": reading.words,
            "rejected": dict(reading.rejected),
            "lag": reading.lag,
            "position": self.position,
        }

    @property
    def unlisted(self) -> int:
        """How many of the items with a word no list may have."""
        return int(self.table.unlisted_R.sum())

    def is_unlisted(self, item_id: str) -> bool:
        """Whether no list may have the item."""
        row = self.table.rows.get(item_id)
        return row is not None and bool(self.table.unlisted_R[row])

    def follow(self, follower: Follower, item_ids: Iterable[str]) -> None:
        """Tell a follower of changes from now on, and at once of the unlisted ones among `item_ids`.

        The follower is held weakly: one that nobody else has is told nothing any more.
        """
        with self._lock:
            self._followers.add(follower)
            follower.items_changed([item for item in item_ids if self.is_unlisted(item)])

    def apply(self, words: Iterable[Word], position: str) -> None:
        """Apply words, of one item in their order, and say that they are applied up to `position`."""
        with self._lock:
            changed: set[str] = set()
            for item_id, word in words:
                if self._apply_one(item_id, word):
                    changed.add(item_id)
            self._tell(changed)
            self.position = position

    def pass_time(self) -> None:
        """Judge the items anew whose time has come: what begins or ends being available."""
        with self._lock:
            due = (self.table.due_ms_R <= self._now_ms()).nonzero()[0].tolist()
            self._tell({item for row in due if self._judge(row) and (item := self.table.id_of(row))})

    def _apply_one(self, item_id: str, word: ItemWord | None) -> bool:
        """Whether a list may have the item now and might not before, or the other way round."""
        before = self.is_unlisted(item_id)
        if word is None:
            self.table.remove(item_id)
        else:
            self._judge(self.table.put(item_id, word))
        return before != self.is_unlisted(item_id)

    def _judge(self, row: int) -> bool:
        """Judge a row by what is known now, and note when to do so again. Returns whether that differs."""
        table, now_ms = self.table, self._now_ms()
        from_ms, until_ms = int(table.from_ms_R[row]), int(table.until_ms_R[row])
        unlisted = not table.available_R[row] or now_ms < from_ms or now_ms >= until_ms
        table.due_ms_R[row] = from_ms if now_ms < from_ms else until_ms if now_ms < until_ms else NEVER
        differs = bool(table.unlisted_R[row]) != unlisted
        table.unlisted_R[row] = unlisted
        return differs

    def _tell(self, changed: set[str]) -> None:
        if changed:
            for follower in list(self._followers):
                follower.items_changed(changed)
