"""Prequential quality: each event is first predicted, then scored, then learned from.

An event's item is looked up in the list that its session was shown last. POP and last-hour POP are
scored on the same events. Events that the version has learned from are summed apart. The results
are summed in cells (stream.quality.cells): over the newest n events, by event time, and with a
fading factor (Gama, Sebastião, Rodrigues, On evaluating stream learning algorithms, Machine
Learning 90, 2013). Memory is bounded for any times, items and versions.

Last-hour POP knows this worker's events up to the one that it predicts; the champion's list was
made one event earlier. The baseline has the advantage.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from stream.quality import cells
from stream.quality.cells import (
    FIRST_AGE,
    FIRST_POSITION,
    FIRST_VERSION,
    IN_SAMPLE,
    LEARNED,
    POSITIONS,
    UNSHOWN,
    VERSIONS,
)
from stream.quality.item_age import AGES, ItemAges
from stream.quality.last_hour_pop import WindowPopularity
from stream.quality.observed_event import ObservedEvent
from stream.quality.source_quality import BySource, SourceQuality
from stream.quality.sums import QualitySums, Sums
from stream.quality.windows import (
    BUCKET_MS,
    DAY_BUCKETS,
    KEPT_BUCKETS,
    FadedEvents,
    NewestEvents,
    TimeBuckets,
    no_sums,
)
from stream.sessions.watermark import LEAP_MS

HOUR_BUCKETS = 12
BATCH = 1024
MOST_WAITING = 64
NO_BUCKET = -1
FIELDS = 10


class Prequential:
    """The champion's quality beside that of POP and last-hour POP, on the same events.

    The sink's thread adds events, other threads read sums.

    >>> prequential = Prequential(newest=1000, fading=0.99)
    >>> hit_at_rank_2 = ObservedEvent(0, 0, 60_000, "session", "item", True, 1, "version", 2, 0, ())
    >>> prequential.add([hit_at_rank_2])
    >>> from stream.quality.sums import measured
    >>> champion = measured(prequential.overall()["newest"])["champion"]
    >>> champion.recall.mean, champion.mrr.mean
    (1.0, 0.5)
    """

    def __init__(self, newest: int, fading: float) -> None:
        self._size = newest
        self._fading = fading
        self._lock = threading.Lock()
        self._popularity = WindowPopularity()
        self._ages = ItemAges()
        self._clocks: dict[int, int] = {}
        self._clock_ms = 0
        self._oldest_ms = 0
        self._outside = 0
        self._versions: dict[str, int] = {}
        self._batch = min(BATCH, newest)
        # Rows of FIELDS numbers: bucket, group, 4 slots, 2 ranks, expected hit and 1/rank of last-hour POP.
        self._rows: list[int] = []
        self._waiting: list[tuple[ObservedEvent, tuple[int, ...]]] = []
        self._total = no_sums()
        self._newest = NewestEvents(newest)
        self._faded = FadedEvents(fading)
        self._buckets = TimeBuckets()
        self._sources = SourceQuality()

    def add(self, events: Iterable[ObservedEvent]) -> None:
        """Score the events of a durable wave, in their order, and learn from each after it is scored."""
        with self._lock:
            for event in events:
                self._add(event)
            if self._waiting:
                self._release()

    def _add(self, event: ObservedEvent) -> None:
        time_ms, item_id = event.time_ms, event.item_id
        is_ahead = self._advance_clocks(event)
        is_inside = not is_ahead and time_ms >= self._oldest_ms
        age = self._ages.age(item_id, time_ms, event.known, is_inside)
        if event.position:
            if event.source_ranks:
                self._sources.add(event.version, event.learned, event.champion_rank, event.source_ranks)
            row = (
                cells.group_of(event.session_id),
                *((IN_SAMPLE, UNSHOWN, UNSHOWN, UNSHOWN) if event.learned else self._slots(event, age)),
                event.champion_rank,
                event.pop_rank,
                *self._popularity.expected(item_id, event.masked),
            )
            if is_ahead:
                self._hold(event, row)
            elif not is_inside:
                self._outside += 1
            self._rows.extend((time_ms // BUCKET_MS if is_inside else NO_BUCKET, *row))
            if len(self._rows) >= self._batch * FIELDS:
                self._sum()
        if is_inside:
            self._popularity.count(item_id, time_ms)

    def _slots(self, event: ObservedEvent, age: int) -> tuple[int, int, int, int]:
        """The slots of an event that was not learned from, one for each kind of slice."""
        version = self._versions.get(event.version) or self._new_version(event.version)
        return 0, version, cells.position_slot(event.position), FIRST_AGE + age

    def _advance_clocks(self, event: ObservedEvent) -> bool:
        """Advance the clocks with the partition's watermark. Returns whether the event leaps ahead of it."""
        clock_ms = max(self._clocks.get(event.partition, 0), event.watermark_ms)
        ahead_ms = event.time_ms - clock_ms
        if 0 < ahead_ms <= LEAP_MS:
            clock_ms = event.time_ms
        self._clocks[event.partition] = clock_ms
        if clock_ms > self._clock_ms:
            if clock_ms // BUCKET_MS > self._clock_ms // BUCKET_MS:
                self._popularity.advance(clock_ms)
                oldest = max(0, clock_ms // BUCKET_MS + 1 - KEPT_BUCKETS)
                self._buckets.forget_before(oldest)
                self._oldest_ms = oldest * BUCKET_MS
            self._clock_ms = clock_ms
        return ahead_ms > LEAP_MS

    def _new_version(self, version: str) -> int:
        """Give the version a free slot, or the slot of the oldest version if this one is newer."""
        slot = FIRST_VERSION + len(self._versions)
        if len(self._versions) == VERSIONS:
            oldest = min(self._versions)
            if version < oldest:
                return UNSHOWN
            self._sum()
            slot = self._versions.pop(oldest)
            self._total[slot] = 0
            for window in (self._newest, self._faded, self._buckets):
                window.clear(slot)
        self._versions[version] = slot
        return slot

    def _hold(self, event: ObservedEvent, row: tuple[int, ...]) -> None:
        """Hold an event that leaps ahead until the watermark confirms its time."""
        self._waiting.append((event, row))
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self._outside += 1

    def _release(self) -> None:
        """Put the events whose time the watermark has confirmed into their buckets."""
        due = [w for w in self._waiting if w[0].time_ms <= self._clocks[w[0].partition] + LEAP_MS]
        if not due:
            return
        self._waiting = [w for w in self._waiting if w[0].time_ms > self._clocks[w[0].partition] + LEAP_MS]
        self._sum()
        rows: list[int] = []
        for event, (group, whole, _, *rest) in due:
            if event.time_ms < self._oldest_ms:
                self._outside += 1
                continue
            # Another version may have taken the slot meanwhile.
            version = UNSHOWN if event.learned else self._versions.get(event.version, UNSHOWN)
            rows.extend((event.time_ms // BUCKET_MS, group, whole, version, *rest))
        self._buckets.add(*_batch_of(rows))

    def _sum(self) -> None:
        """Add the collected rows to every window."""
        if not self._rows:
            return
        numbers_N, cells_NK, values_NC = _batch_of(self._rows)
        self._rows.clear()
        sums = cells.summed(cells_NK, values_NC).astype(np.int64)
        self._total += sums
        self._newest.add(cells_NK, values_NC, sums)
        self._faded.add(cells_NK, values_NC)
        self._buckets.add(
            np.where(numbers_N * BUCKET_MS >= self._oldest_ms, numbers_N, NO_BUCKET), cells_NK, values_NC
        )

    def overall(self) -> dict[str, cells.Whole]:
        """The sums of the slice `all`, G×C, over the newest events and in total since the start."""
        return self._whole(0)

    def in_sample(self) -> dict[str, cells.Whole]:
        """The same of the events that the version has learned from."""
        return self._whole(IN_SAMPLE)

    def _whole(self, slot: int) -> dict[str, cells.Whole]:
        with self._lock:
            self._sum()
            return {"newest": self._newest.sums[slot].copy(), "total": self._total[slot].copy()}

    def by_source(self) -> BySource:
        """The sums of each source of fused lists since the start."""
        with self._lock:
            return self._sources.sums()

    def sums(self, until_ms: int | None = None) -> QualitySums:
        """The sums of every window; windows of event time end with the bucket of `until_ms` or the newest."""
        with self._lock:
            self._sum()
            end = (self._clock_ms if until_ms is None else max(0, until_ms - 1)) // BUCKET_MS + 1
            windows = {
                "newest": self._newest.sums,
                "1h": self._buckets.window(end, HOUR_BUCKETS),
                "24h": self._buckets.window(end, DAY_BUCKETS),
                "fading": self._faded.sums,
                "total": self._total,
            }
            return QualitySums(
                end * BUCKET_MS,
                self._clock_ms,
                self._size,
                self._fading,
                self._outside,
                len(self._waiting),
                {name: self._by_slice(sums) for name, sums in windows.items()},
                {
                    number * BUCKET_MS: self._buckets.buckets[number][0].copy()
                    for number in sorted(self._buckets.buckets)
                    if end - DAY_BUCKETS <= number < end
                },
                self._sources.sums(),
            )

    def _by_slice(self, sums: cells.Table) -> dict[str, Sums]:
        """The sums of every slice that has events, by kind and name."""
        named = {
            "all": {"all": 0},
            "version": dict(sorted(self._versions.items())),
            "position": {name: FIRST_POSITION + place for place, name in enumerate(POSITIONS)},
            "item_age": {name: FIRST_AGE + place for place, name in enumerate(AGES)},
            LEARNED: {"all": IN_SAMPLE},
        }
        return {
            kind: {name: sums[slot].copy() for name, slot in slots.items() if sums[slot, :, 0].any()}
            for kind, slots in named.items()
        }


def _batch_of(rows: list[int]) -> tuple[cells.Whole, cells.Whole, cells.Numbers]:
    """The rows as bucket numbers, cells and values (N, N×K, N×C)."""
    table = np.array(rows, np.int64).reshape(-1, FIELDS)
    cells_NK = cells.cells_of(table[:, 2:6], table[:, 1])
    return table[:, 0], cells_NK, cells.values_of(table[:, 6:8], table[:, 8:10])
