"""`nextclick data report`: figures and warnings about a log before training on it.

Tested by tests/unit/replay/log_report/test_report.py.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from model.errors import NextclickError
from replay.commands.guess_output import FirstEvents, ask, first_events, show_events, show_evidence
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Columns,
    Format,
    Json,
    MappingFile,
    OnError,
    check_on_error,
)
from replay.commands.outputs import check_file
from replay.console import moment, out, progress_bar
from replay.datasets.detection import BY_USUAL_NAMES, known_format, known_members
from replay.datasets.readable_events import NoEvents
from replay.log_report.report import LogReport, report_on
from replay.log_report.session_figures import Distribution
from replay.log_report.warnings import warnings_of
from replay.mappings.guess import guess_mapping
from replay.mappings.kind_guess import has_unread_kinds
from replay.mappings.log_sample import sample_of
from replay.mappings.said_columns import said_mapping
from replay.reading.spool import spooled

data = typer.Typer(
    help="Look at a log before training on it.",
    epilog="Example: nextclick data report clicks.csv.xz --plot report.png",
    no_args_is_help=True,
)


@data.command(epilog="Example: nextclick data report train.txt --test test.txt --plot report.png")
def report(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    test: Annotated[
        list[Path] | None, typer.Option(help="a test log: is it contained in FILES, or earlier?")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file to draw the report to")] = None,
    sample_events: Annotated[
        int | None, typer.Option(min=1_000, help="events of sampled sessions kept in memory, 33 bytes each")
    ] = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: OnError = "skip",
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Report on a log: events, sessions, items, gaps, repeats, popularity, dirt, and known leaks.

    Counts, times, items and dirt are exact. Session figures are exact up to 4 million events; of longer
    logs every 2nd, 4th, … session is sampled, so that memory does not grow with the log.
    """
    check_file("--plot", plot)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    with progress_bar("reading") as bar:
        found = report_on(
            source.files,
            test=test or (),
            format=format,
            columns=source.mapping,
            topic=source.topic,
            on_error=check_on_error(on_error),
            kept_events=sample_events,
            progress=lambda events: bar(events, 0, "events"),
        )
    warnings = warnings_of(found)
    if plot is not None:
        # Imported here: matplotlib takes half a second to load.
        from replay.log_report.plot import log_picture

        plot.write_bytes(log_picture(found))
    if as_json:
        print(json.dumps({**found.as_dict(), "warnings": [asdict(warning) for warning in warnings]}))
        return
    out.print(_table(found))
    for warning in warnings:
        out.print(f"[bold yellow]{warning.name}:[/] {warning.found}", highlight=False)
        out.print(f"  {warning.follows}", highlight=False, style="dim")
    if not warnings:
        out.print("no warnings", highlight=False)
    if plot is not None:
        out.print(f"picture: {plot}", highlight=False)


@data.command(epilog="Example: nextclick data guess clicks.csv --output mylog.toml")
def guess(
    file: Annotated[
        Path, typer.Argument(help="a log of any layout: CSV, JSON, Parquet, Arrow or ORC, packed or not")
    ],
    columns: Annotated[
        str | None, typer.Option(help="what is known of it, as of train: item=sku; the rest is guessed")
    ] = None,
    output: Annotated[Path, typer.Option(help="TOML file to write the mapping to")] = Path("mylog.toml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="also where that file is there")] = False,
    as_json: Json = False,
) -> None:
    """Guess what is what in a log, show why, and the first events; write it to a file for --log.

    Looks at rows spread over the file. What is not sure is asked, or refused where nobody can be asked.
    """
    path = _one_file(file)
    known = known_format(path) if columns is None else None
    if known is not None and known.name in BY_USUAL_NAMES and has_unread_kinds(sample_of(path)):
        known = None
    found = None if known is None else _events_of_known(path)
    if known is not None and found is not None:
        if as_json:
            print(json.dumps({"known": known.name, "events": found.as_dicts(), "left_out": found.left_out}))
            return
        out.print(
            f"{file} is known as {known.name}: nothing has to be said, and no file is written", markup=False
        )
        show_events(found)
        out.print(f"next: nextclick train {shlex.quote(str(file))}", markup=False, highlight=False)
        return
    if output.exists() and not overwrite:
        raise NextclickError(
            f"{output} is there already",
            "It may say more than a guess: nothing was read, and it is as it was.",
            "Name another --output, or have it written anew with --overwrite.",
        )
    check_file("--output", output)
    sample = sample_of(path)
    guessed, _ = ask(
        str(file),
        lambda said: guess_mapping(sample, said_mapping(said)),
        columns or "",
        f"nextclick data guess {shlex.quote(str(file))}",
    )
    assert guessed.mapping is not None
    found = first_events(path, guessed.mapping)
    about = "".join(f"# {role}: {why}\n" for role, why in guessed.evidence.items())
    begin = f"# What is what in {file.name}, as guessed; change what is wrong.\n{about}"
    output.write_text(begin + guessed.mapping.as_toml(), encoding="utf-8")
    following = f"nextclick train {shlex.quote(str(file))} --log {shlex.quote(str(output))}"
    if as_json:
        told = {"evidence": guessed.evidence, "notes": guessed.notes, "mapping": guessed.mapping.as_dict()}
        events = {"events": found.as_dicts(), "left_out": found.left_out}
        print(json.dumps({"known": None, **told, **events, "output": str(output), "next": following}))
        return
    show_evidence(guessed)
    show_events(found)
    out.print(f"written: {output}\nnext: {following}", markup=False, highlight=False)


def _events_of_known(path: Path) -> FirstEvents | None:
    """The first events of a known layout; None where no row is one: it has its names with another meaning."""
    try:
        return first_events(path, None)
    except NoEvents:
        return None


# Members of an archive that are looked at: each may unpack a large part of itself.
MOST_SAMPLED = 8


def _one_file(file: Path) -> Path:
    """The file to look at: of a zip of several that of a known layout, or the first of tables that are alike.

    Of a folder the first part.
    """
    path = spooled(file)
    known, _ = known_members(path, None)
    if path.is_dir():
        return known[0]
    if len(known) > 1 and known_format(known[0]) is None:
        tables = {}
        for one in known[:MOST_SAMPLED]:
            try:
                tables[one] = sample_of(one)
            except NextclickError:
                # A text beside the tables, such as a README.
                continue
        if len({sample.columns for sample in tables.values()}) == 1:
            return next(iter(tables))
    if len(known) > 1 and known_format(known[0]) is None:
        raise NextclickError(
            f"{file} holds {len(known)} files: {', '.join(one.name for one in known[:8])}",
            "Which of them has the events is not known.",
            f"Name one of them: nextclick data guess {shlex.quote(str(file / known[0].name))}",
        )
    return known[0]


def _table(r: LogReport) -> Table:
    sessions, items = r.sessions, r.items
    table = Table(show_header=False)
    whole = sessions.one_in == 1

    def row(name: str, *values: Any) -> None:
        table.add_row(name, " · ".join(str(value) for value in values if value is not None))

    row("events", f"{r.events:,}", *(f"{kind} {count:,}" for kind, count in r.kinds.items()))
    row(
        "time, UTC", f"{moment(r.first_ms)} to {moment(r.last_ms)}", f"steps of {_duration(r.step_ms / 1000)}"
    )
    for evidence in dict.fromkeys(r.times.values()):
        row("", f"seen in {evidence}")
    counts = sorted(r.days.values())
    row("events a day", f"median {counts[len(counts) // 2]:,}", f"most {counts[-1]:,}", f"{len(counts)} days")
    row(
        "sessions",
        f"{sessions.estimated:,}" if whole else f"about {sessions.estimated:,}",
        None if whole else f"figures of every {sessions.one_in}th session, by hash: {sessions.sampled:,}",
        None if r.users is None else f"{'' if r.users_exact else 'about '}{r.users:,} users",
    )
    row("lengths", _spread(sessions.lengths, lambda v: f"{v:,.1f}".removesuffix(".0")))
    row(
        "",
        f"one event: {sessions.one_click:.1%}",
        f"in sessions of more than 200: {sessions.in_long_sessions:.1%} of events",
    )
    row("gaps", _spread(sessions.gaps_s, _duration))
    row("", f"0: {sessions.equal_times:.1%}", f"sessions silent for over 30 min: {sessions.long_gaps:.1%}")
    row("durations", _spread(sessions.durations_s, _duration))
    row(
        "repeats",
        f"item was in the session before: {sessions.repeated_events:.1%}",
        f"right before: {sessions.immediate_repeats:.1%}",
        f"same row: {sessions.duplicates:.2%}",
    )
    row(
        "order",
        f"rows earlier than the one before: {r.backward_rows:.1%}",
        f"within sessions: {sessions.backward:.1%}",
    )
    row("items", f"{items.items:,}", f"seen once {items.seen_once:,}")
    row(
        "new items a day",
        "-" if items.new_a_day is None else f"median {items.new_a_day:,.0f}",
        None
        if items.median_age_h is None
        else f"median age at an event {_duration(items.median_age_h * 3600)}",
        f"younger than a day: {items.younger_than_a_day:.1%}",
    )
    row(
        "popularity",
        f"Gini {items.gini:.3f}",
        None if items.zipf is None else f"slope −{items.zipf:.2f}",
        f"top 20: {items.top_20:.1%}",
        f"top 1 %: {items.top_percent:.1%} of events",
    )
    if r.missing:
        row("missing", *(f"{name} {share:.1%}" for name, share in r.missing.items()))
    for reason, count in sorted(r.rejects.items(), key=lambda pair: -pair[1]):
        row("left out", f"{count:,} {reason}")
    for note in r.notes:
        row("note", note)
    if r.contained is not None:
        c = r.contained
        row(
            "test",
            f"events in training: {c.events:.1%}",
            f"sessions: {c.sessions:.1%}",
            f"before its end: {c.before_the_end:.1%}",
        )
    return table


def _spread(d: Distribution, shown: Any) -> str:
    if d.mean is None:
        return "-"
    parts = [f"{percent} %: {shown(d.percentiles[percent])}" for percent in (10, 50, 90, 99)]
    return " · ".join([f"mean {shown(d.mean)}", *parts, f"longest {shown(d.maximum)}"])


def _duration(seconds: float) -> str:
    if seconds and abs(seconds) < 1:
        return f"{1000 * seconds:.3g} ms"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s".replace(".0 s", " s")
