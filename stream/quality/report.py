"""What `nextclick quality` reports from the workers' sums: plain values, and Recall@20 over event time."""

from __future__ import annotations

from typing import Any

from model.evaluation.intervals import Interval
from stream.quality.sums import Measured, QualitySums, measured
from stream.quality.windows import BUCKET_MS


def recall_over_time(sums: QualitySums, spans: int = 48) -> dict[int, dict[str, Interval]]:
    """Recall@20 over event time in at most `spans` spans of equal length.

    Returns the middle of each span in ms → system → interval; a span without scored events is empty.
    """
    if not sums.series:
        return {}
    starts = sorted(sums.series)
    first, last = starts[0] // BUCKET_MS, starts[-1] // BUCKET_MS
    width = -(-(last - first + 1) // spans)
    by_span: dict[int, Any] = {}
    for start_ms in starts:
        number = (start_ms // BUCKET_MS - first) // width
        by_span[number] = by_span.get(number, 0) + sums.series[start_ms]
    points: dict[int, dict[str, Interval]] = {}
    for number in range(max(by_span) + 1):
        found = measured(by_span[number]) if number in by_span else {}
        middle_ms = int((first + (number + 0.5) * width) * BUCKET_MS)
        points[middle_ms] = {system: values.recall for system, values in found.items()}
    return points


def as_dict(sums: QualitySums, workers: int) -> dict[str, Any]:
    """Everything computed from the sums of `workers` workers, as plain values; NaN becomes None."""
    return {
        "workers": workers,
        "event_time_ms": sums.event_time_ms,
        "until_ms": sums.until_ms,
        "newest_events": sums.newest_events,
        "fading": sums.fading,
        "outside": sums.outside,
        "waiting": sums.waiting,
        "windows": {
            window: {
                kind: {
                    value: {system: _plain(values) for system, values in measured(table).items()}
                    for value, table in slices.items()
                }
                for kind, slices in kinds.items()
            }
            for window, kinds in sums.windows.items()
        },
        "sources": {
            part: {
                version: {
                    name: {**of._asdict(), "recall_at_20": of.recall, "mrr_at_20": of.mrr}
                    for name, of in by_source.items()
                }
                for version, by_source in by_version.items()
            }
            for part, by_version in sums.sources.items()
        },
    }


def _plain(values: Measured) -> dict[str, Any]:
    def interval(ends: Interval) -> list[float | None]:
        return [None if end != end else end for end in (ends.low, ends.high)]

    return {
        "events": values.events,
        "hits": values.hits,
        "reciprocal_ranks": values.reciprocal_ranks,
        "recall_at_20": values.recall.mean,
        "recall_at_20_interval": interval(values.recall),
        "mrr_at_20": values.mrr.mean,
        "mrr_at_20_interval": interval(values.mrr),
        "recall_at_20_less_the_champions": values.recall_difference.mean,
        "recall_at_20_less_the_champions_interval": interval(values.recall_difference),
    }
