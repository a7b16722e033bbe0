"""Quality of each source of a fused list: what its own best 20 would have been worth.

Counted as POP is: an event counts if its session was shown a list, events that the version has learned
from apart, by version. Only lists whose sources are known count, so the list's own figures on the same
events stand beside; an event for which a source has no data does not count for that source.

Shapes: N events, R ranks of an event (the list's, then each source's).
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from model.networks.fused.source_arrays import SOURCES
from stream.quality.cells import LEARNED, UNIT, VERSIONS

LIST = "list"
RANKED = (LIST, *SOURCES)
BATCH_BYTES = 1 << 14
NEW = "new"
PARTS = (NEW, LEARNED)


class SourceSums(NamedTuple):
    """Events, hits, and the sum of 1/rank in units of 1/UNIT."""

    events: int
    hits: int
    reciprocal_ranks: int

    @property
    def recall(self) -> float:
        """Recall@20."""
        return self.hits / max(1, self.events)

    @property
    def mrr(self) -> float:
        """MRR@20."""
        return self.reciprocal_ranks / UNIT / max(1, self.events)


# By part, version and source.
BySource = dict[str, dict[str, dict[str, SourceSums]]]


class SourceQuality:
    """Counts ranks by source for the newest few versions; the caller holds a lock.

    >>> quality = SourceQuality()
    >>> quality.add("v1", False, 2, bytes([1]).ljust(len(SOURCES), bytes(1)))
    >>> quality.sums()["new"]["v1"]["network"].mrr, quality.sums()["new"]["v1"]["list"].mrr
    (1.0, 0.5)
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], bytearray] = {}
        self._counts: dict[tuple[str, str], Counter[tuple[int, int]]] = {}

    def add(self, version: str, learned: bool, list_rank: int, source_ranks: bytes) -> None:
        """Count an event by the ranks of its item; those of the sources are int8, as in `ObservedEvent`."""
        key = (LEARNED if learned else NEW, version)
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = bytearray()
            self._forget_old_versions()
        rows.append(list_rank)
        rows += source_ranks
        if len(rows) >= BATCH_BYTES:
            self._count(key)

    def sums(self) -> BySource:
        """The sums by part, version and source, of those that have events."""
        found: BySource = {part: {} for part in PARTS}
        for key in sorted(self._rows):
            self._count(key)
            counts = self._counts[key]
            sums = {}
            for place, name in enumerate(RANKED):
                of_rank = [counts[place, rank] for rank in range(LIST_LENGTH + 1)]
                if sum(of_rank):
                    reciprocal = sum(UNIT // rank * of_rank[rank] for rank in range(1, LIST_LENGTH + 1))
                    sums[name] = SourceSums(sum(of_rank), sum(of_rank[1:]), reciprocal)
            found[key[0]][key[1]] = sums
        return found

    def _count(self, key: tuple[str, str]) -> None:
        ranks_NR: npt.NDArray[np.int8] = np.frombuffer(bytes(self._rows[key]), np.int8)
        counts = self._counts.setdefault(key, Counter())
        for place, rank_N in enumerate(ranks_NR.reshape(-1, len(RANKED)).T):
            for rank, events in zip(*np.unique(rank_N, return_counts=True), strict=True):
                counts[place, int(rank)] += int(events)
        self._rows[key].clear()

    def _forget_old_versions(self) -> None:
        versions = sorted({version for _, version in self._rows})
        for key in [key for key in self._rows if key[1] in versions[:-VERSIONS]]:
            del self._rows[key]
            self._counts.pop(key, None)


def added(first: BySource, second: BySource) -> BySource:
    """The sums of both."""
    both: BySource = {part: {} for part in PARTS}
    for sums in (first, second):
        for part, by_version in sums.items():
            for version, by_source in by_version.items():
                mine = both[part].setdefault(version, {})
                for name, more in by_source.items():
                    mine[name] = SourceSums(*map(sum, zip(mine.get(name, (0, 0, 0)), more, strict=True)))
    return both
