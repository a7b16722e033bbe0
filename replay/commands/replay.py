"""`nextclick replay`: event files, or the events of a topic, into Kafka.

Tested by tests/unit/replay/sending/test_timeline.py, tests/faults/test_interrupted_replay.py and
tests/integration/test_first_model.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from replay.commands.named_log import topic_read_for_another
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
from stream.settings import Settings, load_settings

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_MEMORY_BYTES = 16 << 20


def replay(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="event files, also .gz .xz .bz2 .zip and Parquet, a folder of `nextclick archive`, and "
            "metadata files",
            show_default=False,
        ),
    ] = None,
    from_topic: Annotated[
        str | None,
        typer.Option(
            help="instead of FILES this topic, up to its end at the start; --log says what is what in one "
            "of your own"
        ),
    ] = None,
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
    topic: Annotated[str | None, typer.Option(help="topic to send the events to")] = None,
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
    """Replay event files, or a topic, into Kafka in event-time order, keyed by session.

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
    _check_log(files, from_topic, on_error, of_files={"--columns": columns, "--format": format,
               "--checkpoint": checkpoint})  # fmt: skip
    settings = _destination(from_topic, bootstrap_servers=bootstrap_servers, topic=topic, group=group)
    start_logs(settings)
    check_file("--checkpoint", checkpoint)
    check_file("--certificate", certificate)
    wanted = event_filter(kind, category, where=where)
    if from_topic is not None:
        source = topic_read_for_another(from_topic, mapping=mapping, brokers=bootstrap_servers)
        log_files = EventFiles((), on_error=on_error, wanted=wanted, topic=source)
    else:
        # A text stays one: checkpoints of earlier releases hold it.
        named = columns if mapping is None else log_mapping(columns, mapping)
        log_files = EventFiles(files or (), format, named, on_error, wanted)
    with pause_keys() as keys, progress_bar("replaying") as bar:
        result = replay_files(
            settings,
            log_files,
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
    for note in () if log_files.topic is None else log_files.topic.notes():
        log.print(f"note: {note}", highlight=False, markup=False)
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    _show(result, settings.events_topic)


def _check_log(
    files: list[Path] | None, from_topic: str | None, on_error: str, *, of_files: Mapping[str, Any]
) -> None:
    """Raises typer.BadParameter unless one log is named, with options that are meant for it."""
    if bool(files) == (from_topic is not None):
        raise typer.BadParameter(
            "both FILES and --from-topic are named; the log is one of them"
            if files
            else "no log is named: FILES, a folder of `nextclick archive`, or --from-topic"
        )
    if from_topic is None:
        return
    if given := [name for name, value in of_files.items() if value is not None]:
        raise typer.BadParameter(
            f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} of files; what is what in a topic says "
            "a TOML file, --log, and `nextclick ingest` goes on where it ended"
        )
    if on_error.startswith("dlq"):
        raise typer.BadParameter(
            "--on-error dlq is of lines of files; records that are no events are counted by reason, and "
            "`nextclick ingest` keeps them in events-dlq"
        )


def _destination(
    from_topic: str | None, *, bootstrap_servers: str | None, topic: str | None, group: str | None
) -> Settings:
    """The settings of the topic that is written. Raises typer.BadParameter for the one that is read."""
    flags: dict[str, str | None] = {
        "bootstrap_servers": bootstrap_servers,
        "events_topic": topic,
        "group_id": group,
    }
    if (
        from_topic is not None
        and load_settings(bootstrap_servers=bootstrap_servers).events_topic == from_topic
    ):
        # The mapping in the settings is that of the topic that is read.
        flags |= {"events_mapping": "", "schema_registry_url": ""}
    settings = load_settings(**flags)
    if settings.events_topic == from_topic:
        raise typer.BadParameter(
            f"{from_topic} would be read and written; name with --topic the one to send to"
        )
    return settings


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
