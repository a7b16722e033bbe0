"""The report of a cadence study: a row and a series for each contender, on the same targets.

Intervals and differences come from resampled whole sessions, the same samples for all contenders.

Shapes: M contenders, N targets, S sessions, T hours, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.config import LIST_LENGTH
from model.evaluation.intervals import Interval, resampled_means
from model.evaluation.metrics import is_hit, reciprocal_ranks
from replay.cadence.hourly_hits import HourlyHits
from replay.cadence.live_baselines import HOUR_MS
from replay.cadence.run_cadence import Contender
from replay.cadence.study_log import StudyLog


@dataclass(frozen=True)
class Row:
    """One contender: quality with intervals, and its differences in Recall@20 to the ones before it."""

    name: str
    recall: Interval
    mrr: Interval
    recall_differences: dict[str, Interval]
    versions: int
    training_events: int
    training_seconds: float


@dataclass(frozen=True)
class StudyReport:
    """Rows in the order of the contenders, their series, and the targets they were measured on."""

    rows: list[Row]
    series: list[HourlyHits]
    targets: int
    sessions: int
    rolling_h: int

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def study_report(log: StudyLog, contenders: Sequence[Contender], rolling_h: int) -> StudyReport:
    """Measure the contenders, which all ranked the targets of `log`."""
    ranks_MN = np.stack([contender.ranks_N for contender in contenders])
    session_N = np.unique(log.session_N, return_inverse=True)[1]
    counts_S = np.bincount(session_N).astype(float)
    hits_MN = is_hit(ranks_MN, LIST_LENGTH)
    recall_MS = np.stack([np.bincount(session_N, hits_N, len(counts_S)) for hits_N in hits_MN])
    reciprocal_MN = [reciprocal_ranks(ranks_N, LIST_LENGTH) for ranks_N in ranks_MN]
    mrr_MS = np.stack([np.bincount(session_N, of_N, len(counts_S)) for of_N in reciprocal_MN])
    means = {"recall": recall_MS.sum(1) / len(session_N), "mrr": mrr_MS.sum(1) / len(session_N)}
    drawn_MR = resampled_means(np.concatenate([recall_MS, mrr_MS]), counts_S)
    recall_MR, mrr_MR = drawn_MR[: len(contenders)], drawn_MR[len(contenders) :]
    rows = []
    for m, contender in enumerate(contenders):
        differences = {
            other.name: Interval.of(means["recall"][m] - means["recall"][n], recall_MR[m] - recall_MR[n])
            for n, other in enumerate(contenders[:m])
        }
        rows.append(
            Row(
                contender.name,
                Interval.of(means["recall"][m], recall_MR[m]),
                Interval.of(means["mrr"][m], mrr_MR[m]),
                differences,
                contender.versions,
                contender.training_events,
                contender.training_seconds,
            )
        )
    first_hour = log.from_ms // HOUR_MS
    hour_N = log.times_ms_N // HOUR_MS - first_hour
    hours = int(hour_N.max()) + 1
    targets = np.bincount(hour_N, minlength=hours).tolist()
    series = [
        HourlyHits(
            contender.name,
            contender.cadence,
            bool(contender.variant),
            first_hour * HOUR_MS,
            np.bincount(hour_N[hits_N], minlength=hours).tolist(),
            targets,
        )
        for contender, hits_N in zip(contenders, hits_MN, strict=True)
    ]
    return StudyReport(rows, series, len(session_N), len(counts_S), rolling_h)


def markdown(result: StudyReport) -> str:
    """The table of all contenders, and the differences of each retrained one, in hundredths."""
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
