"""What a replay at several cadences says: a row and a series for each system, on the same targets.

Intervals and differences come from whole sessions drawn anew, the same draws for all.

Shapes: M systems, N targets, S sessions, T hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.evaluation.intervals import Interval, resampled_means
from model.evaluation.metrics import is_hit, reciprocal_ranks
from replay.cadence.hourly_hits import HourlyHits
from replay.cadence.live_baselines import HOUR_MS
from replay.cadence.play import Contender, StudyLog

K = 20


@dataclass(frozen=True)
class Row:
    """One system: quality with intervals, and its differences in Recall@20 to the systems before it."""

    name: str
    recall: Interval
    mrr: Interval
    recall_differences: dict[str, Interval]
    versions: int
    training_events: int
    training_seconds: float


@dataclass(frozen=True)
class Replayed:
    """Rows in the order of the systems, their series, and what they were measured on."""

    rows: list[Row]
    series: list[HourlyHits]
    targets: int
    sessions: int
    rolling_h: int

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def replayed(log: StudyLog, systems: Sequence[Contender], rolling_h: int) -> Replayed:
    """Measure the systems, which all ranked the targets of `log`."""
    ranks_MN = np.stack([system.ranks_N for system in systems])
    session_N = np.unique(log.session_N, return_inverse=True)[1]
    counts_S = np.bincount(session_N).astype(float)
    hits_MN = is_hit(ranks_MN, K)
    recall_MS = np.stack([np.bincount(session_N, hits_N, len(counts_S)) for hits_N in hits_MN])
    mrr_MS = np.stack(
        [np.bincount(session_N, reciprocal_ranks(ranks_N, K), len(counts_S)) for ranks_N in ranks_MN]
    )
    means = {"recall": recall_MS.sum(1) / len(session_N), "mrr": mrr_MS.sum(1) / len(session_N)}
    drawn_MR = resampled_means(np.concatenate([recall_MS, mrr_MS]), counts_S)
    recall_MR, mrr_MR = drawn_MR[: len(systems)], drawn_MR[len(systems) :]
    rows = []
    for m, system in enumerate(systems):
        differences = {
            other.name: Interval.of(means["recall"][m] - means["recall"][n], recall_MR[m] - recall_MR[n])
            for n, other in enumerate(systems[:m])
        }
        rows.append(
            Row(
                system.name,
                Interval.of(means["recall"][m], recall_MR[m]),
                Interval.of(means["mrr"][m], mrr_MR[m]),
                differences,
                system.versions,
                system.training_events,
                system.training_seconds,
            )
        )
    first_hour = log.from_ms // HOUR_MS
    hour_N = log.times_ms_N // HOUR_MS - first_hour
    hours = int(hour_N.max()) + 1
    targets = np.bincount(hour_N, minlength=hours).tolist()
    series = [
        HourlyHits(
            system.name,
            system.cadence,
            bool(system.followed),
            first_hour * HOUR_MS,
            np.bincount(hour_N[hits_N], minlength=hours).tolist(),
            targets,
        )
        for system, hits_N in zip(systems, hits_MN, strict=True)
    ]
    return Replayed(rows, series, len(session_N), len(counts_S), rolling_h)


def markdown(result: Replayed) -> str:
    """The table, and each difference that concerns a retrained model, in hundredths."""
    lines = [
        "| system | Recall@20 | MRR@20 | versions | training events | training s |",
        "|---|---|---|---|---|---|",
    ]
    for row in result.rows:
        cost = ["–"] * 3
        if row.versions:
            cost = [f"{row.versions:,}", f"{row.training_events:,}", f"{row.training_seconds:.0f}"]
        cells = [row.name, f"{row.recall:.4f}", f"{row.mrr:.4f}", *cost]
        lines.append(f"| {' | '.join(cells)} |")
    trained = [row for row in result.rows if row.versions]
    against = [row.name for row in result.rows[:-1]]
    lines += ["", f"| Δ Recall@20 | {' | '.join(against)} |", f"|{'---|' * (len(against) + 1)}"]
    for row in trained:
        cells = [_points(row.recall_differences.get(name)) for name in against]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"The same {result.targets:,} next events of {result.sessions:,} sessions for all; events of items "
        "that a system cannot know yet are misses. In brackets: 95 % intervals, whole sessions resampled; "
        "Δ: row minus column, paired, in hundredths.",
    ]
    return "\n".join(lines)


def _points(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.hundredths():+.2f}"
