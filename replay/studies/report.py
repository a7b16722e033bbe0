"""A study's published figures beside ours, as Markdown and as plain values.

Tested by tests/learning/test_reproduce.py.
"""

from __future__ import annotations

from typing import Any

from model.comparison.compare import Row as Measured
from model.comparison.table import warnings_of
from model.evaluation.intervals import Interval
from replay.studies.run import Reproduced, TableResult

MEASURES = ("recall@20", "mrr@20", "accuracy", "loss", "mse", "mae")


def as_dict(result: Reproduced) -> dict[str, Any]:
    """Returns plain values, for JSON."""
    return {
        "title": result.study.title,
        "reference": result.study.reference,
        "log": {
            "files": result.log.names,
            "events": result.log.events,
            "published": None if result.log.is_published is None else result.log.is_published.name,
        },
        "settings": dict(result.settings),
        "tables": [
            {
                "title": found.table.title,
                "published": {row.name: row.published for row in found.table.rows},
                "left_out": found.left_out,
                "ours": None if found.comparison is None else found.comparison.as_dict(),
            }
            for found in result.tables
        ],
        "deviations": result.study.deviations,
        "seconds": result.seconds,
        "peak_mib": result.peak_mib,
    }


def markdown(result: Reproduced, command: str) -> str:
    """Returns the whole report; `command` is the command line that made it."""
    study, log = result.study, result.log
    lines = [f"## {study.title}", study.reference, "", f"    {command}", ""]
    where = f"{', '.join(log.names)}, {log.events:,} events after the filter"
    if log.is_published is None:
        named = " or ".join(data.name for data in study.data)
        lines.append(
            f"Data: {where}. **Not the published data** ({named}): published figures and ours do not "
            f"compare. {study.at_hand_says}".rstrip()
        )
    else:
        lines.append(f"Data: {where}: {log.is_published.name}, as published.")
    lines.append(f"Split: {study.recipe}")
    if result.settings:
        lines.append(f"Settings over the published ones: {_words(result.settings)}.")
    for found in result.tables:
        lines += ["", f"**{found.table.title}**", "", *_table(found)]
    lines += ["", f"Time {result.seconds:.0f} s, peak memory {result.peak_mib:,.0f} MiB.", "", "Deviations:"]
    lines += [f"- {deviation}" for deviation in study.deviations]
    return "\n".join(lines) + "\n"


def _table(found: TableResult) -> list[str]:
    rows = found.table.rows
    columns = list(dict.fromkeys((d, m) for row in rows for d in row.published for m in row.published[d]))
    ours = {} if found.comparison is None else {row.name: row for row in found.comparison.rows}
    measures = [m for m in MEASURES if any(_measure(row, m) is not None for row in ours.values())]
    head = ["model", *(f"{measure}, {data}" for data, measure in columns)]
    head += [f"{measure}, ours" for measure in measures] + ["training s", "events/s", "epochs' losses"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        published = [row.published.get(data, {}).get(measure) for data, measure in columns]
        cells = [row.name, *("–" if value is None else f"{value:.5g}" for value in published)]
        measured = ours.get(row.name)
        if measured is None:
            why = found.left_out.get(row.name, "not chosen")
            cells += [f"not run: {why}", *(["–"] * (len(head) - len(cells) - 1))]
        else:
            cells += [_figure(_measure(measured, measure)) for measure in measures]
            cells += [f"{measured.training_seconds:.1f}"]
            cells += [f"{measured.events_per_s:,.0f}" if measured.events_per_s else "–"]
            cells += [_course(measured.losses)]
        lines.append(f"| {' | '.join(cells[: len(head)])} |")
    if found.comparison is not None:
        lines += ["", str(found.comparison.counts), *warnings_of(found.comparison)]
    return lines


def _measure(row: Measured, measure: str) -> Interval | None:
    if measure == "recall@20":
        return row.recall[20]
    if measure == "mrr@20":
        return row.mrr
    if measure == "accuracy":
        return row.recall[1]
    found: Interval | None = getattr(row, measure)
    return found


def _figure(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval:.4f}"


def _course(losses: list[float]) -> str:
    """The training loss of the first and the last epoch."""
    if not losses:
        return "–"
    return f"{losses[0]:.4g} → {losses[-1]:.4g} ({len(losses)})"


def _words(settings: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
