"""Synthetic shoppers: a log of any length in constant memory, whose best lists are known.

Shoppers walk over a catalogue of slots. Each slot has 5 successors with fixed probabilities; with
probability `noise` the next item is drawn by popularity instead. Therefore the best list after an
event is known, and with it the recall that no recommender can beat. Items are replaced: a slot gets a
new item with new successors. Bots run through the catalogue; some events come late, some twice. Equal
settings give equal logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.config import LIST_LENGTH as K
from replay.synthetic.shoppers import PREFIX, SUCCESSORS, ShopperSettings, Truth

PROBABILITIES = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
HOUR_MS = 3_600_000
BLOCK_EVENTS = 100_000
LONGEST_GAP_MS = 900_000
BOT_PERIOD_MS = (200, 1_000)
BOT_SILENCE_MS = 600_000
DUPLICATE_DELAY_MS = 2_000
Ints = npt.NDArray[np.int64]


@dataclass
class Rows:
    """Events as columns: session numbers (negative for bots), item numbers, epoch milliseconds.

    The log is in order of `arrival_ms`.
    """

    session: Ints
    item: Ints
    time_ms: Ints
    arrival_ms: Ints

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: Any) -> Rows:
        """The rows of a mask, a slice or numbers."""
        return Rows(self.session[rows], self.item[rows], self.time_ms[rows], self.arrival_ms[rows])


def concatenated(parts: list[Rows]) -> Rows:
    """Rows one after another."""
    columns = [[getattr(part, one.name) for part in parts] for one in fields(Rows)]
    return Rows(*(np.concatenate(column) for column in columns))


class ShopperStream:
    """Makes a log once, block by block, in order of arrival; `truth` grows with it.

    `item_in_slot` has the item of each slot, `successors` (items, 5) and `best_slots` (items, 20) the
    slots that follow each slot, most probable first.

    >>> stream = ShopperStream(ShopperSettings(events=3, items=10))
    >>> [len(frame) for frame in stream.frames()]
    [3]
    """

    def __init__(self, settings: ShopperSettings) -> None:
        self.settings = settings
        self.truth = Truth(items=settings.items)
        self._rng = np.random.default_rng(settings.seed)
        rng, items = self._rng, settings.items
        # Popularity follows a power law over the slots; item numbers are random, so as not to reveal it.
        weights = (1.0 + np.arange(items)) ** -settings.skew
        self._popularity = rng.permutation(weights / weights.sum())
        self._cumulative = np.cumsum(self._popularity)
        self._by_popularity = np.argsort(-self._popularity, kind="stable")
        self.item_in_slot: Ints = rng.permutation(items).astype(np.int64)
        self.successors: Ints = self._distinct_successors(np.arange(items))
        self.best_slots: Ints = np.zeros((items, K), np.int64)
        self._ceiling = np.zeros(items)
        self._rank_best(np.arange(items))
        bots = settings.bots
        shoppers = max(1, round(settings.rate * (1 - bots) * settings.mean_gap_s))
        self._slot = self._popular(shoppers)
        self._due_ms = settings.start_ms + rng.exponential(1000 * settings.mean_gap_s, shoppers)
        self._left = rng.geometric(1 / settings.mean_length, shoppers)
        self._session = np.arange(shoppers, dtype=np.int64)
        self._started = np.zeros(shoppers, bool)
        self._next_session = shoppers
        self.truth.sessions = 0
        mean_period_s = sum(BOT_PERIOD_MS) / 2000
        crawlers = round(settings.rate * bots * mean_period_s) if bots else 0
        crawlers = max(crawlers, 1) if bots else 0
        # When a fraction of a bot would do, one bot runs slower, to keep the share of bot events.
        stretch = crawlers / (settings.rate * bots * mean_period_s) if bots else 1.0
        self._period_ms = (rng.integers(*BOT_PERIOD_MS, crawlers) * stretch).astype(np.int64) + 1
        self._bot_due_ms = settings.start_ms + rng.integers(0, 1000, crawlers)
        self._bot_slot = rng.integers(0, items, crawlers)
        self._bot_left = rng.geometric(1 / 2_000, crawlers) + 300
        self._bot_session = -1 - np.arange(crawlers, dtype=np.int64)
        self.truth.bot_sessions = crawlers
        self._born = 0.0

    def blocks(self) -> Iterator[Rows]:
        """All rows in order of arrival, in blocks of about 100,000 rows."""
        settings = self.settings
        width_ms = max(1.0, BLOCK_EVENTS / settings.rate * 1000)
        waiting: list[Rows] = []
        left, until_ms = settings.events, float(settings.start_ms)
        while left:
            until_ms += width_ms
            made = [self._shopper_events(until_ms)]
            if len(self._bot_due_ms):
                made.append(self._bot_events(until_ms))
            rows = concatenated([*waiting, self._with_late_and_repeated(concatenated(made))])
            due = rows.arrival_ms < until_ms
            waiting = [rows.take(~due)]
            rows = rows.take(due)
            rows = rows.take(np.argsort(rows.arrival_ms, kind="stable")[:left])
            left -= len(rows)
            if len(rows):
                yield rows
            self._replace_items(width_ms)

    def frames(self) -> Iterator[pd.DataFrame]:
        """The rows as event frames in order of arrival; late events come after later ones."""
        for rows in self.blocks():
            yield pd.DataFrame(
                {
                    "session_id": names("s", "bot", rows.session),
                    "item_id": names("i", "i", rows.item),
                    "event_time_ms": rows.time_ms,
                    "kind": "view",
                }
            )

    def _popular(self, count: int) -> Ints:
        """Slots drawn by popularity, (count,)."""
        drawn = np.searchsorted(self._cumulative, self._rng.random(count), side="right")
        return np.minimum(drawn, self.settings.items - 1)

    def _distinct_successors(self, slots: Ints) -> Ints:
        """Five different slots for each slot, drawn by popularity, (slots, 5)."""
        found = self._popular(len(slots) * SUCCESSORS).reshape(len(slots), SUCCESSORS)
        while True:
            ordered = np.sort(found, axis=1)
            repeated = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
            if not len(repeated):
                return found
            # Redrawn evenly: by popularity, a skewed catalogue hardly gives five different ones.
            shape = (len(repeated), SUCCESSORS)
            found[repeated] = self._rng.integers(0, self.settings.items, shape)

    def _rank_best(self, slots: Ints) -> None:
        """Rank the best list after each slot: successors and most popular slots by probability."""
        noise, items = self.settings.noise, self.settings.items
        likely = self._by_popularity[: min(items, K + SUCCESSORS)]
        candidates = np.concatenate(
            [self.successors[slots], np.broadcast_to(likely, (len(slots), len(likely)))], axis=1
        )
        chances = noise * self._popularity[candidates]
        chances[:, :SUCCESSORS] += (1 - noise) * PROBABILITIES
        # A successor that is also among the most popular slots counts once.
        twice = (candidates[:, SUCCESSORS:, None] == candidates[:, None, :SUCCESSORS]).any(axis=2)
        chances[:, SUCCESSORS:][twice] = -1
        order = np.argsort(-chances, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(candidates, order, axis=1)
        self.best_slots[slots, : best.shape[1]] = best
        self._ceiling[slots] = np.take_along_axis(chances, order, axis=1).clip(0).sum(axis=1)

    def _shopper_events(self, until_ms: float) -> Rows:
        """The shoppers' events before `until_ms`; in each round every active shopper makes one."""
        rng, settings, truth = self._rng, self.settings, self.truth
        sessions, items, times = [], [], []
        active = np.flatnonzero(self._due_ms < until_ms)
        while len(active):
            count = len(active)
            slot = self._slot[active]
            sessions.append(self._session[active])
            items.append(self.item_in_slot[slot])
            due_ms = self._due_ms[active]
            times.append(due_ms.astype(np.int64))
            truth.sessions += int((~self._started[active]).sum())
            self._started[active] = True
            left = self._left[active] - 1
            goes_on = left > 0
            noisy = rng.random(count) < settings.noise
            choice = np.searchsorted(np.cumsum(PROBABILITIES)[:-1], rng.random(count), side="right")
            following = np.where(noisy | ~goes_on, self._popular(count), self.successors[slot, choice])
            hit = (self.best_slots[slot[goes_on]] == following[goes_on][:, None]).any(axis=1)
            truth.next_events += len(hit)
            truth.best_hits += int(hit.sum())
            truth.expected_hits += float(self._ceiling[slot[goes_on]].sum())
            ended = active[~goes_on]
            left[~goes_on] = rng.geometric(1 / settings.mean_length, len(ended))
            self._session[ended] = self._next_session + np.arange(len(ended))
            self._next_session += len(ended)
            self._started[ended] = False
            self._left[active] = left
            self._slot[active] = following
            gap_ms = np.minimum(rng.exponential(1000 * settings.mean_gap_s, count), LONGEST_GAP_MS)
            self._due_ms[active] = due_ms + gap_ms + 1
            active = active[self._due_ms[active] < until_ms]
        if not times:
            return _none()
        time_ms = np.concatenate(times)
        return Rows(np.concatenate(sessions), np.concatenate(items), time_ms, time_ms)

    def _bot_events(self, until_ms: float) -> Rows:
        """The bots' events before `until_ms`: slot after slot, at an even pace."""
        due_ms, period_ms = self._bot_due_ms, self._period_ms
        counts = np.maximum(0, np.ceil((until_ms - due_ms) / period_ms)).astype(np.int64)
        counts = np.minimum(counts, self._bot_left)
        bot = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(len(bot)) - np.repeat(np.cumsum(counts) - counts, counts)
        time_ms = due_ms[bot] + step * period_ms[bot]
        slot = (self._bot_slot[bot] + step) % self.settings.items
        rows = Rows(self._bot_session[bot], self.item_in_slot[slot], time_ms, time_ms)
        self._bot_due_ms = due_ms + counts * period_ms
        self._bot_slot = (self._bot_slot + counts) % self.settings.items
        self._bot_left = self._bot_left - counts
        ended = np.flatnonzero(self._bot_left == 0)
        self._bot_left[ended] = self._rng.geometric(1 / 2_000, len(ended)) + 300
        self._bot_session[ended] = -1 - self.truth.bot_sessions - np.arange(len(ended))
        self._bot_due_ms[ended] += BOT_SILENCE_MS
        self.truth.bot_sessions += len(ended)
        return rows

    def _with_late_and_repeated(self, rows: Rows) -> Rows:
        """The rows, some of them delayed, and some repeated."""
        rng, settings = self._rng, self.settings
        if settings.late:
            late = np.flatnonzero(rng.random(len(rows)) < settings.late)
            delay_ms = rng.exponential(1000 * settings.late_s, len(late)).astype(np.int64) + 1
            arrival_ms = rows.arrival_ms.copy()
            arrival_ms[late] += delay_ms
            rows = replace(rows, arrival_ms=arrival_ms)
            self.truth.late += len(late)
        if settings.duplicates:
            again = rows.take(rng.random(len(rows)) < settings.duplicates)
            again.arrival_ms = again.arrival_ms + rng.integers(1, DUPLICATE_DELAY_MS, len(again))
            rows = concatenated([rows, again])
            self.truth.duplicates += len(again)
        return rows

    def _replace_items(self, width_ms: float) -> None:
        """Replace random items by new ones, as many as are born in `width_ms`."""
        self._born += self.settings.births * width_ms / HOUR_MS
        count = min(int(self._born), self.settings.items)
        if not count:
            return
        self._born -= int(self._born)
        slots = self._rng.choice(self.settings.items, count, replace=False)
        self.item_in_slot[slots] = self.truth.items + np.arange(count)
        self.truth.items += count
        self.successors[slots] = self._distinct_successors(slots)
        self._rank_best(slots)


def synthetic_stream(paths: Sequence[Path]) -> ShopperStream | None:
    """The stream named by the single path `synthetic:…`; None for files."""
    if len(paths) != 1 or not str(paths[0]).startswith(PREFIX):
        return None
    return ShopperStream(ShopperSettings.parse(str(paths[0])))


def _none() -> Rows:
    empty = np.empty(0, np.int64)
    return Rows(empty, empty, empty, empty)


def names(prefix: str, negative: str, numbers: Ints) -> npt.NDArray[np.object_]:
    """Ids as text: `prefix` and the number; `negative` and its absolute value below zero."""
    shown = np.array([f"{prefix}{n}" if n >= 0 else f"{negative}{-n}" for n in numbers.tolist()], object)
    return shown
