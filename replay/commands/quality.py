"""`nextclick quality`: the live Recall@20 and MRR@20 of running workers, as tables and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model.evaluation.intervals import Interval
from replay.commands.options import Json
from replay.commands.outputs import check_file
from replay.console import moment, out
from stream.access.own_requests import own_address
from stream.quality.cells import KINDS, LEARNED
from stream.quality.collect import collect
from stream.quality.report import as_dict, recall_over_time
from stream.quality.source_quality import SourceSums
from stream.quality.sums import WINDOWS, QualitySums, measured
from stream.settings import load_settings

# Columns of a table that is not printed to a terminal.
WIDTH = 140
NAMES = {"champion": "champion", "pop": "POP", "window_pop": "last-hour POP"}
WINDOW_NAMES = {
    "newest": "newest {newest:,} of each worker",
    "1h": "last hour of event time",
    "24h": "last 24 h of event time",
    "fading": "fading, α = {fading}",
    "total": "since the workers' start",
}
KIND_NAMES = {
    "version": "model version",
    "position": "events behind the list",
    "item_age": "age of the item",
}


def quality(
    worker: Annotated[
        list[str] | None,
        typer.Option(help="web address of a worker; may be repeated. Default: the address in the settings"),
    ] = None,
    window: Annotated[
        str,
        typer.Option(help=f"window of the tables by version, position and item age: {', '.join(WINDOWS)}"),
    ] = "24h",
    plot: Annotated[Path | None, typer.Option(help="draw Recall@20 over event time to this PNG file")] = None,
    as_json: Json = False,
) -> None:
    """Add up the Recall@20 and MRR@20 of running workers, beside POP and last-hour POP on the same events.

    Events that the version in service has learned from are shown apart, as in-sample.
    """
    if window not in WINDOWS:
        raise typer.BadParameter(f"--window is one of {', '.join(WINDOWS)}, not {window!r}")
    settings = load_settings()
    worker = worker or [own_address(settings)]
    workers = list(dict.fromkeys(address.rstrip("/") for address in worker))
    check_file("--plot", plot, makes_folder=True)
    sums = collect(workers, settings)
    if plot:
        from model.comparison.plots import rolling_recall

        plot.parent.mkdir(parents=True, exist_ok=True)
        points = {
            middle_ms: {NAMES[system]: recall for system, recall in recalls.items()}
            for middle_ms, recalls in recall_over_time(sums).items()
        }
        plot.write_bytes(rolling_recall(points))
    if as_json:
        print(json.dumps(as_dict(sums, len(workers))))
        return
    show(sums, len(workers), window)


def show(sums: QualitySums, workers: int, window: str) -> None:
    """Print a table of all windows, then the tables by version, position and item age of one window."""
    names = {
        name: text.format(newest=sums.newest_events, fading=sums.fading)
        for name, text in WINDOW_NAMES.items()
    }
    out.print(
        f"{workers} worker{'s' * (workers > 1)}, event time {moment(sums.event_time_ms or None)}; "
        "95 % intervals by sessions",
        highlight=False,
    )
    _print_table("", "window", {names[name]: kinds["all"].get("all") for name, kinds in sums.windows.items()})
    learned = {names[name]: kinds[LEARNED].get("all") for name, kinds in sums.windows.items()}
    if any(table is not None for table in learned.values()):
        _print_table(
            "in-sample: events that the version had learned from, in no other table and in no plot",
            "window",
            learned,
        )
    for kind in KINDS[1:]:
        slices = sums.windows[window][kind]
        if slices:
            _print_table(names[window], KIND_NAMES[kind], slices)
    for part, by_version in sums.sources.items():
        _print_sources(part, by_version)
    if sums.outside or sums.waiting:
        out.print(
            f"in no window of event time: {sums.outside:,} events too late or too far ahead, "
            f"{sums.waiting:,} ahead of their partition's watermark",
            highlight=False,
        )


def _print_sources(part: str, by_version: dict[str, dict[str, SourceSums]]) -> None:
    if not any(by_version.values()):
        return
    title = "what each source's own best 20 would have been worth since the workers' start"
    if part == LEARNED:
        title = f"in-sample: {title}"
    table = Table(
        "model version", "source", "events", "Recall@20", "MRR@20", title=title, title_justify="left"
    )
    for version, by_source in by_version.items():
        for place, (name, of) in enumerate(by_source.items()):
            table.add_row(
                "" if place else version,
                name,
                f"{of.events:,}",
                f"{of.recall:.4f}",
                f"{of.mrr:.4f}",
                end_section=place == len(by_source) - 1,
            )
    (out if out.is_terminal else Console(width=WIDTH)).print(table)


def _print_table(title: str, first: str, rows: dict[str, Any]) -> None:
    columns = (first, "system", "events", "Recall@20", "MRR@20", "Recall@20 less champion's")
    table = Table(*columns, title=title or None, title_justify="left")
    for name, sums in rows.items():
        found = {} if sums is None else measured(sums)
        if not found:
            table.add_row(name, "", "0", end_section=True)
        for place, (system, of) in enumerate(found.items()):
            table.add_row(
                name if not place else "",
                NAMES[system],
                f"{of.events:,.0f}",
                _with_ends(of.recall),
                _with_ends(of.mrr),
                _with_ends(of.recall_difference, "+") if place else "",
                end_section=place == len(found) - 1,
            )
    (out if out.is_terminal else Console(width=WIDTH)).print(table)


def _with_ends(interval: Interval, sign: str = "") -> str:
    if interval.low != interval.low:
        return f"{interval.mean:{sign}.4f}"
    return f"{interval.mean:{sign}.4f} ({interval.low:{sign}.3f} … {interval.high:{sign}.3f})"
