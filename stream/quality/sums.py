"""Quality as sums that can be added over workers, and Recall@20 and MRR@20 computed from them.

Sums whose windows end at the same event time are added cell by cell. Recall@20, MRR@20 and their
intervals are computed from the added sums and never added themselves. The newest and the faded
events of several workers are the newest and the faded events of each.

Tested by tests/unit/stream/quality/test_prequential.py and test_collect.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import orjson

from model.evaluation.intervals import Interval, grouped_intervals
from stream.quality.cells import COLUMNS, GROUPS, SYSTEMS, UNIT, Table
from stream.quality.source_quality import BySource, added
from stream.quality.windows import BUCKET_MS

WINDOWS = ("newest", "1h", "24h", "fading", "total")
# 2: events that the version has learned from are a slice of their own, and in no other.
# 3: with the sums of each source.
FORMAT = 3

Sums = dict[str, Table]
Key = TypeVar("Key", str, int)


@dataclass(frozen=True)
class Measured:
    """Recall@20 and MRR@20 of one system with 95 % intervals, and its Recall@20 minus the champion's."""

    events: float
    hits: float
    reciprocal_ranks: float
    recall: Interval
    mrr: Interval
    recall_difference: Interval


def measured(sums_GC: Table) -> dict[str, Measured]:
    """The quality of each system from the sums of one slice, G×C; empty without events."""
    sums_CG = sums_GC.T.astype(np.float64)
    counts_G, sums_MG = sums_CG[0], sums_CG[1:] / UNIT
    if not counts_G.any():
        return {}
    differences_MG = sums_MG[::2] - sums_MG[0]
    intervals = grouped_intervals(np.concatenate([sums_MG, differences_MG]), counts_G)
    found = {}
    for place, system in enumerate(SYSTEMS):
        hits, reciprocal_ranks = sums_MG[2 * place].sum(), sums_MG[2 * place + 1].sum()
        found[system] = Measured(
            float(counts_G.sum()),
            float(hits),
            float(reciprocal_ranks),
            _within_bounds(intervals[2 * place]),
            _within_bounds(intervals[2 * place + 1]),
            intervals[len(sums_MG) + place],
        )
    return found


def _within_bounds(interval: Interval) -> Interval:
    return Interval(interval.mean, max(0.0, interval.low), min(1.0, interval.high))


class _Wire(msgspec.Struct, rename={"format_": "format"}):
    format_: int
    columns: tuple[str, ...]
    unit: int
    groups: int
    bucket_ms: int
    until_ms: int
    event_time_ms: int
    newest_events: int
    fading: float
    outside: int
    waiting: int
    windows: dict[str, dict[str, dict[str, list[list[float]]]]]
    series: dict[str, list[list[int]]]
    sources: BySource


@dataclass(frozen=True)
class QualitySums:
    """Sums by window, kind of slice and slice, each G×C (see stream.quality.cells).

    `series` has the sums of all events by the start of their bucket in ms. Windows of event time end
    before `until_ms`; `event_time_ms` is the newest event time. `outside` counts events too late or
    too far ahead for any window of event time, `waiting` events ahead of their partition's watermark.
    `sources` has the sums of each source of fused lists since the start.
    """

    until_ms: int
    event_time_ms: int
    newest_events: int
    fading: float
    outside: int
    waiting: int
    windows: dict[str, dict[str, Sums]]
    series: dict[int, Table]
    sources: BySource

    def merged(self, other: QualitySums) -> QualitySums:
        """The sums of both. Raises ValueError when they end at other times, or fade differently."""
        mine = (self.until_ms, self.newest_events, self.fading)
        others = (other.until_ms, other.newest_events, other.fading)
        if mine != others:
            raise ValueError(
                f"sums until {mine[0]} of {mine[1]} newest events, faded by {mine[2]}, and until {others[0]} "
                f"of {others[1]}, faded by {others[2]}"
            )
        windows: dict[str, dict[str, Sums]] = {}
        for name in self.windows:
            windows[name] = {
                kind: _added(self.windows[name][kind], other.windows[name][kind])
                for kind in self.windows[name]
            }
        return QualitySums(
            self.until_ms,
            max(self.event_time_ms, other.event_time_ms),
            self.newest_events,
            self.fading,
            self.outside + other.outside,
            self.waiting + other.waiting,
            windows,
            dict(sorted(_added(self.series, other.series).items())),
            added(self.sources, other.sources),
        )

    def to_json(self) -> bytes:
        """As JSON text, with the names and units of its numbers in it."""
        wire = _Wire(
            FORMAT, COLUMNS, UNIT, GROUPS, BUCKET_MS, self.until_ms, self.event_time_ms,
            self.newest_events, self.fading, self.outside, self.waiting, {}, {}, self.sources,
        )  # fmt: skip
        fields: dict[str, object] = msgspec.to_builtins(wire)
        fields["windows"] = self.windows
        fields["series"] = {str(start_ms): sums for start_ms, sums in self.series.items()}
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)

    @classmethod
    def from_json(cls, text: bytes) -> QualitySums:
        """From the text of `to_json`. Raises ValueError on anything else."""
        try:
            wire = msgspec.json.decode(text, type=_Wire)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        mine = (FORMAT, COLUMNS, UNIT, GROUPS, BUCKET_MS)
        if (wire.format_, wire.columns, wire.unit, wire.groups, wire.bucket_ms) != mine:
            raise ValueError(f"format {wire.format_} of another version of nextclick")
        if tuple(wire.windows) != WINDOWS:
            raise ValueError(f"windows {', '.join(wire.windows)} instead of {', '.join(WINDOWS)}")
        return cls(
            wire.until_ms,
            wire.event_time_ms,
            wire.newest_events,
            wire.fading,
            wire.outside,
            wire.waiting,
            {
                name: {
                    kind: {
                        of: _table(rows, np.float64 if name == "fading" else np.int64)
                        for of, rows in slices.items()
                    }
                    for kind, slices in kinds.items()
                }
                for name, kinds in wire.windows.items()
            },
            {int(start_ms): _table(rows, np.int64) for start_ms, rows in wire.series.items()},
            wire.sources,
        )


def _added(first: dict[Key, Table], second: dict[Key, Table]) -> dict[Key, Table]:
    added = dict(first)
    for key, sums in second.items():
        added[key] = added[key] + sums if key in added else sums
    return added


def _table(rows: Sequence[Sequence[float]], dtype: type) -> Table:
    table: Table = np.array(rows, dtype)
    if table.shape != (GROUPS, len(COLUMNS)):
        raise ValueError(f"a table of {table.shape} instead of {(GROUPS, len(COLUMNS))}")
    return table
