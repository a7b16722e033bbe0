"""Figures of sampled sessions: lengths, gaps, repeats, order, and what leaks through them.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from replay.log_report.session_sample import SessionSample

PERCENTILES = (1, 10, 25, 50, 75, 90, 99)
SESSION_GAP_MS = 1_800_000
SPLIT_FRACTION = 0.1
LONG_SESSION = 200
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Distribution:
    """A count with mean, extremes and percentiles; they are None (or empty) when the count is 0.

    >>> Distribution.of(np.array([1, 2, 6])).mean
    3.0
    """

    count: int
    mean: float | None
    minimum: float | None
    maximum: float | None
    percentiles: dict[int, float]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Distribution:
        """The distribution of an array."""
        if not len(values):
            return cls(0, None, None, None, {})
        found = np.percentile(values, PERCENTILES)
        return cls(
            len(values),
            float(values.mean()),
            float(values.min()),
            float(values.max()),
            dict(zip(PERCENTILES, map(float, found), strict=True)),
        )


@dataclass
class SessionFigures:
    """Figures of `sampled` sessions, one in `one_in`; shares lie between 0 and 1.

    Gaps lie between events of a session that are neighbours in time. For plots, `lengths_counted`
    has the number of sessions by length, `gaps_ms` and `final_gaps_ms` the gaps themselves.
    """

    one_in: int
    sampled: int
    sampled_events: int
    estimated: int
    lengths: Distribution
    gaps_s: Distribution
    durations_s: Distribution
    one_click: float
    repeated_events: float
    immediate_repeats: float
    duplicates: float
    equal_times: float
    backward: float
    long_gaps: float
    final_gap_ms: int | None
    final_gap_share: float
    inner_gap_share: float
    astride_the_split: float
    in_long_sessions: float
    fast_long_sessions: int
    order_ratio: float | None
    order_pairs: int
    lengths_counted: dict[int, int] = field(repr=False, default_factory=dict)
    gaps_ms: Ints = field(repr=False, default_factory=lambda: np.empty(0, np.int64))
    final_gaps_ms: Ints = field(repr=False, default_factory=lambda: np.empty(0, np.int64))


def session_figures(sample: SessionSample) -> SessionFigures:
    """The figures of a sample of whole sessions."""
    rows = sample.rows()
    # By session and time; equal times as in the file.
    rows = rows[np.lexsort((rows["row"], rows["time_ms"], rows["session"]))]
    count = len(rows)
    first = np.ones(count, bool)
    first[1:] = rows["session"][1:] != rows["session"][:-1]
    starts = np.flatnonzero(first)
    lengths = np.diff(np.append(starts, count))
    neighbours = np.flatnonzero(~first)
    gaps = rows["time_ms"][neighbours] - rows["time_ms"][neighbours - 1]
    last = np.zeros(count, bool)
    last[np.append(starts[1:], count) - 1 if count else []] = True
    final = last[neighbours]
    # The only gap of a session of two events counts as final.
    inner = gaps[~final]
    final_ms, final_share, inner_share = _constant(gaps[final], inner)
    durations = rows["time_ms"][last] - rows["time_ms"][first]
    distinct, together = np.unique(lengths, return_counts=True)
    ratio, pairs = _order_information(rows, neighbours)
    session_of = np.cumsum(first) - 1
    long = lengths > LONG_SESSION
    return SessionFigures(
        sample.one_in,
        len(starts),
        count,
        len(starts) * sample.one_in,
        Distribution.of(lengths),
        Distribution.of(gaps / 1000),
        Distribution.of(durations / 1000),
        _share(lengths == 1),
        *_repeats(rows, session_of, neighbours),
        _share(gaps == 0),
        _backward(rows),
        _share(
            np.maximum.reduceat(np.where(first, 0, _gap_before(gaps, neighbours, count)), starts)
            > SESSION_GAP_MS
        )
        if count
        else 0.0,
        final_ms,
        final_share,
        inner_share,
        _astride(rows["time_ms"], first, last),
        float(lengths[long].sum() / count) if count else 0.0,
        int(((durations[long] > 0) & (durations[long] < 1_000 * lengths[long])).sum()),
        ratio,
        pairs,
        dict(zip(distinct.tolist(), together.tolist(), strict=True)),
        gaps,
        gaps[final],
    )


def _share(mask: Bools) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _gap_before(gaps: Ints, neighbours: Ints, count: int) -> Ints:
    found = np.zeros(count, np.int64)
    found[neighbours] = gaps
    return found


def _constant(final: Ints, inner: Ints) -> tuple[int | None, float, float]:
    """The commonest final gap, its share of the final gaps and of the inner ones."""
    if not len(final):
        return None, 0.0, 0.0
    values, counts = np.unique(final, return_counts=True)
    commonest = int(values[counts.argmax()])
    return commonest, float(counts.max() / len(final)), _share(inner == commonest)


def _repeats(rows: npt.NDArray[np.void], session_of: Ints, neighbours: Ints) -> tuple[float, float, float]:
    """Shares of events whose item occurred earlier in the session, or right before; of repeated rows."""
    if not len(rows):
        return 0.0, 0.0, 0.0
    order = np.lexsort((rows["time_ms"], rows["item"], session_of))
    session, item, time_ms = session_of[order], rows["item"][order], rows["time_ms"][order]
    kind = rows["kind"][order]
    again = (session[1:] == session[:-1]) & (item[1:] == item[:-1])
    # With equal session, item and time, a row of another kind is not a repeat.
    same = again & (time_ms[1:] == time_ms[:-1]) & (kind[1:] == kind[:-1])
    immediate = rows["item"][neighbours] == rows["item"][neighbours - 1]
    return float(again.sum() / len(rows)), _share(immediate), float(same.sum() / len(rows))


def _backward(rows: npt.NDArray[np.void]) -> float:
    """Share of steps back in time among a session's neighbours in the file that differ in time."""
    in_file = rows[np.lexsort((rows["row"], rows["session"]))]
    together = in_file["session"][1:] == in_file["session"][:-1]
    steps = np.diff(in_file["time_ms"])[together]
    return _share(steps[steps != 0] < 0)


def _astride(times_ms: Ints, first: Bools, last: Bools) -> float:
    """Share of sessions that begin before the newest tenth of the events and end in it."""
    if not len(times_ms):
        return 0.0
    cut = np.quantile(times_ms, 1 - SPLIT_FRACTION)
    return _share((times_ms[first] < cut) & (times_ms[last] >= cut))


def _order_information(rows: npt.NDArray[np.void], neighbours: Ints) -> tuple[float | None, int]:
    """Whether the order of two neighbours carries information: the ratio is 1 if not, larger if so.

    For every pair of items that are neighbours in at least two sessions, n of them begin a → b and m
    begin b → a. The ratio is the mean of (n - m)² / (n + m) over the pairs; its expectation is 1 when
    the order is random. Returns the ratio and the number of pairs.
    """
    before, after = rows["item"][neighbours - 1], rows["item"][neighbours]
    other = before != after
    session, before, after = rows["session"][neighbours][other], before[other], after[other]
    low, high = np.minimum(before, after), np.maximum(before, after)
    forward = np.where(before < after, 1, -1)
    # The sort is stable: of a session that goes back and forth, the first step counts.
    order = np.lexsort((session, high, low))
    session, low, high, forward = session[order], low[order], high[order], forward[order]
    if not len(low):
        return None, 0
    another = np.append(True, (low[1:] != low[:-1]) | (high[1:] != high[:-1]))
    once = another | np.append(True, session[1:] != session[:-1])
    forward, begins = forward[once], np.flatnonzero(another[once])
    totals = np.diff(np.append(begins, len(forward)))
    balance = np.add.reduceat(forward, begins)
    often = totals >= 2
    pairs = int(often.sum())
    return (float((balance[often] ** 2 / totals[often]).mean()), pairs) if pairs else (None, 0)
