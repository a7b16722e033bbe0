"""The charts of the live page: one point a second for ten minutes, and the versions that served.

Rates are counts between two points by the wall clock. Quality is over the newest events, with its
95 % interval if there is one. None means unknown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.evaluation.intervals import Interval
from stream.quality.sums import Measured

POINTS = 600
KEPT_SWAPS = 50
QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
SHOWN_SYSTEMS = ("champion", "pop", "window_pop")
Bounded = tuple[float | None, float | None, float | None]
UNKNOWN: Bounded = (None, None, None)


@dataclass(frozen=True)
class Swap:
    """A version that came into service, by wall time and by the newest event time at that moment."""

    version: str
    wall_ms: int
    event_time_ms: int


@dataclass
class ChartPoints:
    """Columns of equal length, the newest point last; `at_ms` is wall time.

    >>> points = ChartPoints()
    >>> points.add({"at_ms": 1})
    >>> points.add({"at_ms": 2, "lag": 7})
    >>> points.as_dict()
    {'at_ms': [1, 2], 'lag': [None, 7]}
    """

    columns: dict[str, deque[float | None]] = field(default_factory=dict)
    swaps: deque[Swap] = field(default_factory=lambda: deque(maxlen=KEPT_SWAPS))

    def add(self, point: dict[str, float | None]) -> None:
        """Add a point; a new column is None for the points before it."""
        length = max((len(column) for column in self.columns.values()), default=0)
        for name, value in point.items():
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = deque([None] * length, maxlen=POINTS)
            column.append(value)

    def note_version(self, version: str, wall_ms: int, event_time_ms: int) -> None:
        """Note the version that serves now."""
        if not self.swaps or self.swaps[-1].version != version:
            self.swaps.append(Swap(version, wall_ms, event_time_ms))

    def as_dict(self) -> dict[str, Any]:
        """The columns as lists."""
        return {name: list(column) for name, column in self.columns.items()}


def delay_quantiles(delays_ms: Sequence[float]) -> dict[str, float | None]:
    """The quantiles of QUANTILES, each a delay that occurred; None without delays."""
    if not delays_ms:
        return dict.fromkeys(QUANTILES)
    values = np.percentile(delays_ms, list(QUANTILES.values()), method="higher")
    return {name: round(float(value), 2) for name, value in zip(QUANTILES, values, strict=True)}


def bounded(interval: Interval | None) -> Bounded:
    """Mean, low and high, rounded; None for NaN."""
    if interval is None:
        return UNKNOWN
    mean, low, high = (_number(value) for value in (interval.mean, interval.low, interval.high))
    return mean, low, high


def quality_now(found: dict[str, Measured]) -> dict[str, dict[str, Any]]:
    """For each system the scored events, Recall@20 and MRR@20 with their bounds."""
    return {
        system: {
            "events": int(found[system].events) if system in found else 0,
            "recall_at_20": bounded(found[system].recall if system in found else None),
            "mrr_at_20": bounded(found[system].mrr if system in found else None),
        }
        for system in SHOWN_SYSTEMS
    }


def shadow_now(report: dict[str, Any] | None) -> dict[str, Any] | None:
    """The shadow under trial; its bounds are those of the difference, added to the champion's mean."""
    if report is None:
        return None
    shown: dict[str, Any] = {
        name: report[name] for name in ("version", "role", "share", "sessions", "events")
    }
    for measure in ("recall", "mrr"):
        means, difference = report[f"{measure}_at_20"], report[f"{measure}_difference"]
        champion, shadow = _number(means["champion"]), _number(means["shadow"])
        ends = [None, None] if difference is None else [_number(champion + end) for end in difference[1:]]
        low, high = (None if end is None else min(1.0, max(0.0, end)) for end in ends)
        known = report["events"] > 0
        shown[f"{measure}_at_20"] = (shadow, low, high) if known else UNKNOWN
        shown[f"champion_{measure}_at_20"] = champion if known else None
        shown[f"{measure}_difference"] = None if difference is None else [_number(end) for end in difference]
    return shown


def point_of(now: dict[str, Any]) -> dict[str, float | None]:
    """The values of one point, by column."""
    point: dict[str, float | None] = {
        "at_ms": now["at_ms"],
        "events_per_s": now["events_per_s"],
        "lag": now["lag"],
        **{f"delay_{name}": value for name, value in now["delay_ms"].items()},
    }
    for system in (*SHOWN_SYSTEMS, "shadow"):
        found = now["shadow"] if system == "shadow" else now["quality"][system]
        for measure in ("recall", "mrr"):
            values = UNKNOWN if found is None else found[f"{measure}_at_20"]
            for end, value in zip(("", "_low", "_high"), values, strict=True):
                point[f"{measure}_{system}{end}"] = value
    return point


def _number(value: Any) -> Any:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
