"""`nextclick replay`: event files into Kafka.

Tested by tests/unit/replay/sending/test_timeline.py and tests/faults/test_interrupted_replay.py.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Format,
    Json,
    Kind,
    MappingFile,
    Where,
    event_filter,
    is_on_error,
    log_mapping,
)
from replay.commands.outputs import check_file
from replay.console import log, moment, out, parse_moment, progress_bar, start_logs
from replay.datasets.event_files import EventFiles
from replay.sending.pause import pause_keys
from replay.sending.replay import SendOptions
from replay.sending.replay_files import ReplayStorage, replay_files
from replay.sending.replay_report import ReplayReport
from replay.sending.timeline import ReplayRange
from stream.settings import load_settings

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_MEMORY_BYTES = 16 << 20


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(help="event files, also .gz .xz .bz2 .zip and Parquet, and their metadata"),
    ],
    speed: Annotated[str, typer.Option(help="event seconds per wall second, or max")] = "max",
    rate: Annotated[
        float | None, typer.Option(help="events per wall second, regardless of their times")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="start at this event time of the log, UTC")
    ] = None,
    until: Annotated[str | None, typer.Option(help="end before this event time of the log, UTC")] = None,
    shift: Annotated[
        str | None, typer.Option(help="now: shift all event times so that the log ends now")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="replay again and again, with later times and new session ids")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="send at most this many events")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="file that lets an interrupted replay continue without loss or repeats"),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="write counts and hashes of what was sent, for `nextclick verify`")
    ] = None,
    memory: Annotated[str, typer.Option(help="memory for sorting; larger logs are sorted on disk")] = "32MB",
    lag_limit: Annotated[
        int | None, typer.Option(min=1, help="wait while the worker's group lags more than this many events")
    ] = None,
    group: Annotated[str | None, typer.Option(help="the worker's group, for --lag-limit")] = None,
    topic: Annotated[str | None, typer.Option(help="topic of the events")] = None,
    bootstrap_servers: Brokers = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: Annotated[
        str, typer.Option(help="at a line that cannot be read: stop, skip, or dlq: send it to events-dlq")
    ] = "stop",
    as_json: Json = False,
) -> None:
    """Replay event files into Kafka in event-time order, keyed by session.

    SIGUSR1 or the space bar pauses and continues it. A replay held up by Kafka or by --lag-limit leaves
    no event out: it falls behind its pace, shows by how much, and catches up.
    """
    factor = _speed(speed)
    if rate is not None and (factor is not None or not (math.isfinite(rate) and rate > 0)):
        raise typer.BadParameter("--rate is a number above 0, and goes with no --speed")
    if shift not in (None, "now"):
        raise typer.BadParameter(f"--shift is now, not {shift!r}")
    if not is_on_error(on_error):
        raise typer.BadParameter(f"--on-error is stop, skip or dlq, not {on_error!r}")
    # A text stays one: checkpoints of earlier releases hold it.
    named = log_mapping(columns, mapping) if mapping is not None else columns
    # A text stays one: checkpoints of earlier releases hold it.
    named = columns if mapping is None else log_mapping(columns, mapping)
    settings = load_settings(bootstrap_servers=bootstrap_servers, events_topic=topic, group_id=group)
    start_logs(settings)
    check_file("--checkpoint", checkpoint)
    check_file("--certificate", certificate)
    with pause_keys() as keys, progress_bar("replaying") as bar:
        result = replay_files(
            settings,
            EventFiles(files, format, named, on_error, event_filter(kind, category, where=where)),
            SendOptions(
                speed=factor,
                rate=rate,
                lag_limit=lag_limit,
                progress=lambda report: bar(report.sent, limit or 0, state(report)),
                pause_keys=keys,
            ),
            part=ReplayRange(parse_moment(from_), parse_moment(until), shift is not None, loop, limit),
            storage=ReplayStorage(memory_bytes(memory), checkpoint=checkpoint, certificate=certificate),
            opened=_print_formats,
        )
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    _show(result, settings.events_topic)


def state(report: ReplayReport) -> str:
    """The progress of a replay in a few words."""
    parts = [f"{report.rate:,.0f} events/s", f"event time {moment(report.last_event_time_ms)}"]
    if report.paused:
        parts.append("paused")
    elif report.behind_s >= 1:
        parts.append(f"{report.behind_s:,.0f} s behind, catching up")
    if report.loop:
        parts.append(f"loop {report.loop + 1}")
    return ", ".join(parts)


def memory_bytes(text: str) -> int:
    """A size such as "512MB" in bytes, by powers of 1,024. Raises typer.BadParameter.

    >>> memory_bytes("32MB")
    33554432
    """
    found = re.fullmatch(r"(\d+)\s*([KMG]?)i?B?", text.strip().upper().replace("IB", "B"))
    size = int(found[1]) * UNITS[found[2]] if found else 0
    if size < LEAST_MEMORY_BYTES:
        raise typer.BadParameter(f"--memory is a size of 16MB or more, such as 512MB, not {text!r}")
    return size


def _speed(text: str) -> float | None:
    try:
        factor = None if text == "max" else float(text)
    except ValueError:
        factor = 0.0
    if factor is not None and not 0 < factor < math.inf:
        raise typer.BadParameter(f"--speed is a number above 0 or max, not {text!r}")
    return factor


def _print_formats(formats: dict[str, str]) -> None:
    for path, name in formats.items():
        log.print(f"{path}: {name}", highlight=False, markup=False)


def _show(result: ReplayReport, topic: str) -> None:
    if result.resumed_after is not None:
        out.print(
            f"went on behind event {result.resumed_after:,}; {result.found:,} more were there already",
            highlight=False,
        )
    if result.sent or result.resumed_after is None:
        out.print(
            f"{result.acknowledged:,} events are in {topic}, {moment(result.first_event_time_ms)} to "
            f"{moment(result.last_event_time_ms)}, {result.rate:,.0f} events/s",
            highlight=False,
        )
    else:
        out.print("nothing was left to send", highlight=False)
    if result.pace_error_ms:
        out.print(
            f"sent {result.pace_error_ms['p99']:,.1f} ms after their moment (p99), "
            f"{result.max_behind_s:,.1f} s at most",
            highlight=False,
        )
    if result.others:
        out.print(
            f"{result.others:,} records of others came into the topic meanwhile; if nobody else writes "
            "to it, they are the last ones of the interrupted replay, which came late",
            highlight=False,
        )
    if result.dead_letters:
        out.print(f"{result.dead_letters:,} lines are in the dead-letter topic", highlight=False)
    for reason, count in result.rejects.items():
        out.print(f"left out {count:,}: {reason}", highlight=False)
