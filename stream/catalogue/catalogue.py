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

from model.errors import NextclickError
from stream.catalogue.item_table import NEVER, NONE, ItemTable
from stream.catalogue.item_word import SEPARATOR, ItemWord
from stream.catalogue.needed_topics import check_topics
from stream.catalogue.purchases import Purchases
from stream.catalogue.rule_parts import RulePart, parts_of
from stream.catalogue.rules import NO_RULES, Boost, Cap, Never, Rules, Without, is_within

DAY_MS = 86_400_000
Word = tuple[str, ItemWord | None]


class Follower(Protocol):
    """What obeys the catalogue."""

    def items_changed(self, item_ids: Iterable[str]) -> None:
        """Ask again about these items. Called with the catalogue's lock held, by one thread at a time."""

    def rules_changed(self) -> None:
        """Ask again about every item, and read the rules. Called as `items_changed` is."""


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
        self.purchases = Purchases()
        # Whether the topic of published placements is there; a worker asks the brokers.
        self.publishes_placements = True
        self.position = ""
        # Grows after whatever may change a list.
        self.changes = 0
        # `held_rules` are those that every item has been judged by: what names their version obeys them.
        self.rules = self.held_rules = NO_RULES
        self._parts = parts_of(NO_RULES)
        self.refused_rules = 0
        self.now_ms = now_ms
        self._passed_ms = now_ms()
        self._lock = threading.Lock()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet and there is no rule, so that every item may be listed."""
        return not self.position and not self.rules.version

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

    def rules_report(self) -> dict[str, Any] | None:
        """Which rules hold, None where there is no file of them."""
        if not self.rules.version:
            return None
        return {"version": self.rules.version, "refused": self.refused_rules}

    @property
    def unlisted(self) -> int:
        """How many of the items with a word no list may have."""
        return int(self.table.unlisted_R.sum())

    def is_unlisted(self, item_id: str) -> bool:
        """Whether no list may have the item."""
        row = self.table.rows.get(item_id)
        return self.rules.never.without_word if row is None else bool(self.table.unlisted_R[row])

    def group(self, item_id: str, cap: Cap) -> int:
        """The number of the item's brand or category, as far down as the cap says; NONE without one."""
        row = self.table.rows.get(item_id)
        if row is None:
            return NONE
        if cap.per == "brand":
            return int(self.table.brand_R[row])
        path = self.table.categories.name(int(self.table.category_R[row]))
        if path is None or cap.depth is None:
            return int(self.table.category_R[row])
        return self.table.categories.number(SEPARATOR.join(path.split(SEPARATOR)[: cap.depth]))

    def places_up(self, item_id: str, boosts: Iterable[Boost] | None = None) -> int:
        """By how many places boosts, those of the rules if none are given, bring the item up now."""
        row, up, now_ms = self.table.rows.get(item_id), 0, self.now_ms()
        for boost in self.rules.boost if boosts is None else boosts:
            if now_ms >= boost.until_ms:
                continue
            if boost.item is not None:
                matches = boost.item == item_id
            elif row is None:
                matches = False
            elif boost.brand is not None:
                matches = boost.brand == self.table.brands.name(int(self.table.brand_R[row]))
            else:
                path = self.table.categories.name(int(self.table.category_R[row]))
                matches = is_within(path, boost.category or "")
            up = max(up, boost.up if matches else 0)
        return up

    def is_out_under(self, item_id: str, never: Never) -> bool:
        """Whether no list would have the item now, were these the rules."""
        row = self.table.rows.get(item_id)
        return never.without_word if row is None else self._is_out(row, never, self.now_ms())

    def keeps_out(self, part: RulePart, item_id: str) -> bool:
        """Whether a rule of what is never listed keeps an item out by itself."""
        if isinstance(part.alone, Never):
            return self.is_out_under(item_id, part.alone)
        return part.alone is not None and self.is_against(item_id, part.alone)

    def said_of(self, item_id: str) -> dict[str, Any]:
        """What the shop says of an item, and in words which rules keep it out of every list."""
        word = self.table.word(item_id)
        said = None
        if word is not None:
            names = ("title", "brand", "available", "available_from_ms", "available_until_ms", "price")
            said = {name: getattr(word, name) for name in names} | {"category": word.category_path}
        reasons = [part.text for part in self._parts if self.keeps_out(part, item_id)]
        return {"word": said, "kept_out_by": reasons}

    def is_against(self, item_id: str, without: Never | Without) -> bool:
        """Whether the item has a brand, a category or an attribute that is named."""
        row = self.table.rows.get(item_id)
        return row is not None and self._is_against(row, without)

    def set_rules(self, rules: Rules) -> None:
        """Follow these rules from now on. Raises NextclickError if they cannot hold."""
        check_topics(rules, self.purchases.is_kept, self.publishes_placements)
        with self._lock:
            if rules.never.without_word and not self._leaves_any(rules):
                raise NextclickError(
                    f"the rules of version {rules.version} leave nothing to list",
                    f"None of the {len(self.table):,} items of which something is said is left, and "
                    "`without_word` keeps out all others. Rules that were read before go on.",
                    "Load the catalogue (`nextclick items load`), or take back the rule that is too wide.",
                )
            self.rules = rules
            self._parts = parts_of(rules)
            self._judge_all()
            self.held_rules = rules
            self.changes += 1

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
            words = list(words)
            for item_id, word in words:
                if self._apply_one(item_id, word):
                    changed.add(item_id)
            self._tell(changed)
            self.position = position
            self.changes += bool(words)

    def pass_time(self) -> None:
        """Judge the items anew whose time has come: what begins or ends being available."""
        with self._lock:
            now_ms = self.now_ms()
            if any(self._passed_ms < end_ms <= now_ms for end_ms in self.rules.ends_ms):
                self._judge_all()
                self.changes += 1
            self._passed_ms = now_ms
            due = (self.table.due_ms_R <= now_ms).nonzero()[0].tolist()
            changed = {item for row in due if self._judge(row) and (item := self.table.id_of(row))}
            self._tell(changed)
            self.changes += bool(changed)

    def _leaves_any(self, rules: Rules) -> bool:
        """Whether these rules leave an item with a word, at whatever time it may be listed."""
        never, table = rules.never, self.table
        return any(
            (table.available_R[row] or not never.unavailable) and not self._is_against(row, never)
            for row in list(table.rows.values())
        )

    def _judge_all(self) -> None:
        for item_id in self.table.ids():
            self._judge(self.table.rows[item_id])
        for follower in list(self._followers):
            follower.rules_changed()

    def _apply_one(self, item_id: str, word: ItemWord | None) -> bool:
        """Whether a list may have the item now and might not before, or the other way round.

        With caps or boosts also whether its brand or its category is another one.
        """
        before = self._seen_by_lists(item_id)
        if word is None:
            self.table.remove(item_id)
        else:
            self._judge(self.table.put(item_id, word))
        return before != self._seen_by_lists(item_id)

    def _seen_by_lists(self, item_id: str) -> tuple[bool, int, int]:
        row = self.table.rows.get(item_id)
        if row is None or not self.rules.orders:
            return self.is_unlisted(item_id), NONE, NONE
        table = self.table
        return self.is_unlisted(item_id), int(table.brand_R[row]), int(table.category_R[row])

    def _judge(self, row: int) -> bool:
        """Judge a row by what is known now, and note when to do so again. Returns whether that differs."""
        table, now_ms, never = self.table, self.now_ms(), self.rules.never
        times_ms = (int(table.from_ms_R[row]), int(table.until_ms_R[row]), self._old_ms(row, never))
        unlisted = self._is_out(row, never, now_ms)
        table.due_ms_R[row] = min((at for at in times_ms if at > now_ms), default=NEVER)
        differs = bool(table.unlisted_R[row]) != unlisted
        table.unlisted_R[row] = unlisted
        return differs

    def _old_ms(self, row: int, never: Never) -> int:
        """When an item is too old, NEVER where it does not age."""
        from_ms = int(self.table.from_ms_R[row])
        if never.older_than_days is None or from_ms == NONE:
            return NEVER
        return from_ms + int(never.older_than_days * DAY_MS)

    def _is_out(self, row: int, never: Never, now_ms: int) -> bool:
        """Whether no list may have the item of a row."""
        table = self.table
        is_available = table.available_R[row] and table.from_ms_R[row] <= now_ms < table.until_ms_R[row]
        is_out = (never.unavailable and not is_available) or now_ms >= self._old_ms(row, never)
        return bool(is_out) or self._is_against(row, never)

    def _is_against(self, row: int, never: Never | Without) -> bool:
        """Whether the brand, the category or an attribute of a row is named."""
        table = self.table
        if never.brands and table.brands.name(int(table.brand_R[row])) in never.brands:
            return True
        if never.categories:
            path = table.categories.name(int(table.category_R[row]))
            if any(is_within(path, category) for category in never.categories):
                return True
        if not never.attributes:
            return False
        _, attributes = table.details(row)
        return any((attributes or {}).get(name) in values for name, values in never.attributes.items())

    def _tell(self, changed: set[str]) -> None:
        if changed:
            for follower in list(self._followers):
                follower.items_changed(changed)
