"""The command cadence: a log replayed at several cadences of retraining, one table and one picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from model.config_files import build_config, parse_settings, read_params
from model.data.event_filter import EventFilter
from model.data.session_rule import SessionRule
from model.errors import NextclickError
from model.freshness.moving_tables import FRESHNESS_MODES, FreshnessConfig
from model.registry.registry import Registry
from replay.cadence.live_baselines import HOUR_MS
from replay.cadence.report import markdown, study_report
from replay.cadence.run_cadence import Cadence, rank_baselines, run_cadence
from replay.cadence.study_log import StudyLog
from replay.cadence.trainer import Trainer
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Format,
    GapS,
    Json,
    Kind,
    MappingFile,
    OnError,
    Params,
    RegistryDir,
    SetOptions,
    Where,
    describe_filter,
    event_filter,
    inherited_mapping,
)
from replay.commands.outputs import check_file
from replay.console import log, moment, parse_moment, progress_bar
from stream.settings import load_settings

# One pass over each window: a version is to be there soon, and the next one comes.
DEFAULTS = {"epochs": 1, "negatives": 512, "prior_half_lives_s": (600.0, 3600.0, 21600.0)}
UNITS_MS = {"m": 60_000, "h": HOUR_MS, "d": 24 * HOUR_MS}


def parse_cadences(text: str) -> list[Cadence]:
    """ "never,24h,6h,90m" as cadences. Raises typer.BadParameter on anything else."""
    cadences: dict[str, Cadence] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"([1-9][0-9]*)([mhd])", part)
        if part != "never" and not found:
            raise typer.BadParameter(f"{part!r} is no cadence such as never, 24h, 90m or 2d")
        every_ms = int(found[1]) * UNITS_MS[found[2]] if found else None
        cadences[part] = Cadence(part, every_ms)
    if not cadences:
        raise typer.BadParameter("--every names no cadence")
    return list(cadences.values())


def parse_between(text: str, after_sessions: int, half_life_s: float) -> list[FreshnessConfig]:
    """ "none,popularity,new-items,both" as what is followed. Raises typer.BadParameter on anything else."""
    found: dict[str, FreshnessConfig] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part not in FRESHNESS_MODES:
            raise typer.BadParameter(f"{part!r} is not one of {', '.join(FRESHNESS_MODES)}")
        found[part] = FreshnessConfig.of(part, after_sessions=after_sessions, half_life_s=half_life_s)
    if not found:
        raise typer.BadParameter("--between names nothing")
    return list(found.values())


def cadence(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    every: Annotated[
        str, typer.Option(help="cadences to replay, by commas: never, or a number with m, h or d")
    ] = "never,24h,6h,1h",
    from_: Annotated[
        str | None,
        typer.Option("--from", help="first trained before this UTC time; default: an eighth of the log"),
    ] = None,
    until: Annotated[str | None, typer.Option(help="end the log before this UTC time")] = None,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1, help="share of the sessions evaluated, by hash of their id")
    ] = 1.0,
    between: Annotated[
        str,
        typer.Option(help="followed between trainings, by commas: none, popularity, new-items, both"),
    ] = "none",
    after_sessions: Annotated[
        int, typer.Option(min=1, help="clicks before an unknown item is listed, with --between new-items")
    ] = 2,
    half_life_s: Annotated[
        float, typer.Option(min=1, help="of the counts behind --between popularity and new-items")
    ] = 900.0,
    follow_every_s: Annotated[
        int, typer.Option(min=1, help="event time between two moments that take up what is followed")
    ] = 60,
    rolling_h: Annotated[int, typer.Option(min=1, help="hours that each point of the plot looks back")] = 6,
    plot: Annotated[
        Path | None,
        typer.Option(help="PNG file for Recall@20 over event time; of --between the first and the last"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="network, session rule and kinds of events as of this version, or of the champion"),
    ] = None,
    registry: RegistryDir = None,
    session_gap_s: GapS = None,
    params: Params = None,
    set_: SetOptions = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: OnError = "stop",
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Replay a log at several cadences of retraining: Recall@20 of each, beside baselines that learn live."""
    # Imported here: matplotlib takes a second that no other command should wait for.
    from replay.cadence.plot import rolling_plot

    cadences = parse_cadences(every)
    freshness = parse_between(between, after_sessions, half_life_s)
    version = None
    if model is not None:
        folder = Registry(registry or load_settings().registry_dir)
        version = folder.load(None if model == "champion" else model)
    recorded = EventFilter.recorded(version.manifest["data"]) if version else None
    chosen = event_filter(kind, category, recorded, where=where)
    if version:
        log.print(
            f"{version.version} was trained on {describe_filter(recorded)}, "
            f"the log's events {chosen or 'of all kinds'} are replayed",
            highlight=False,
        )
    check_file("--plot", plot, makes_folder=True)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    named = source.mapping
    if named is None and version:
        named = inherited_mapping(version.manifest["data"], version.version, source.files, format)
    log_files = LogFiles(source.files, format, on_error, chosen, named, source.topic)
    inherited = version.config.model_dump() if version else {**DEFAULTS, **log_files.session_settings}
    given = {**inherited, **(read_params(params) if params else {}), **parse_settings(set_ or [])}
    if session_gap_s is not None:
        given["session_gap_s"] = session_gap_s
    config = build_config(given)
    begin_ms, until_ms = parse_moment(from_), parse_moment(until)
    frame = log_files.load()
    if until_ms is not None:
        frame = frame[frame["event_time_ms"] < until_ms].reset_index(drop=True)
    if frame.empty:
        raise NextclickError(
            f"no event is left before {until}", "There is nothing to replay.", "Name a later --until."
        )
    first_ms, last_ms = (int(frame["event_time_ms"].iloc[place]) for place in (0, -1))
    if begin_ms is None:
        # On a full hour, so that ticks are moments that people plan by.
        begin_ms = -(-(first_ms + (last_ms - first_ms) // 8) // HOUR_MS) * HOUR_MS
    study_log = StudyLog(frame, SessionRule(config.session_gap_s), begin_ms, share)
    span_ms = last_ms - begin_ms
    for wanted in cadences:
        if wanted.every_ms is not None and wanted.every_ms > span_ms:
            raise NextclickError(
                f"the log goes on for {span_ms / HOUR_MS:.1f} h after {moment(begin_ms)}, less than one "
                f"period of {wanted.name}",
                "Its only version would be the first: the same as never.",
                "Leave that cadence out, begin with an earlier --from, or replay a longer log.",
            )
    log.print(
        f"{len(study_log.inputs_N):,} next events of {len(np.unique(study_log.session_N)):,} sessions from "
        f"{moment(begin_ms)} on",
        highlight=False,
    )
    contenders = []
    with progress_bar("live baselines") as bar:
        contenders += rank_baselines(
            study_log,
            exclude_session_items=config.exclude_session_items,
            progress=lambda done, total: bar(done, total, "events"),
        )
    with progress_bar("first training") as bar:
        trainer = Trainer(study_log, config, lambda p: bar(p.events, p.total, f"loss {p.loss:.3f}"))
    for wanted in cadences:
        with progress_bar(wanted.name) as bar:

            def report(done_ms: int, total_ms: int) -> None:
                bar(done_ms / HOUR_MS, total_ms / HOUR_MS, "hours of the log")

            contenders += run_cadence(trainer, wanted, freshness, 1000 * follow_every_s, report)
    result = study_report(study_log, contenders, rolling_h)
    if plot:
        # More ways of following than two would hide each other.
        drawn = {contenders[i].variant for i in range(2, 2 + len(freshness), max(1, len(freshness) - 1))}
        shown = [
            series
            for series, contender in zip(result.series, contenders, strict=True)
            if not contender.cadence or contender.variant in drawn
        ]
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_bytes(rolling_plot(shown, rolling_h))
    print(json.dumps(result.as_dict()) if as_json else markdown(result))
