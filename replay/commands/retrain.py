"""`nextclick retrain`: a new champion from the newest events, once or on a schedule.

Tested by tests/integration/test_retrain.py and tests/integration/test_retrain_schedule.py.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from model.config_files import parse_settings, read_params
from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Category, Json, Kind, Params, RegistryDir, SetOptions, Where, event_filter
from replay.commands.outputs import check_file, check_folder
from replay.console import log, moment, out, parse_moment, progress_bar, start_logs
from stream.event_decoder import EventDecoder
from stream.ingest.decoders import decoder_of
from stream.logs import happening, tells_json
from stream.metrics_server import serve_metrics, write_metrics
from stream.retraining.lock import RetrainUnderWay
from stream.retraining.metrics import RetrainMetrics
from stream.retraining.options import RetrainOptions, WindowOptions
from stream.retraining.report import RunReport, headline
from stream.retraining.retrain import disk_error
from stream.retraining.retrain import retrain as run_once
from stream.retraining.schedule import Cron, Every, LogClock, WallClock, ticks
from stream.settings import Settings, load_settings

logger = logging.getLogger(__name__)
EXIT_REFUSED = 3
EXIT_FAILED = 2


def parse_offsets(texts: list[str] | None) -> dict[int, tuple[int, int]] | None:
    """PARTITION:FIRST-END texts as offsets (first, end) by partition; -1 stands for the end of the log.

    Raises typer.BadParameter on anything else.

    >>> parse_offsets(["0:1000-2000", "1:5-"])
    {0: (1000, 2000), 1: (5, -1)}
    """
    if not texts:
        return None
    ranges = {}
    for text in texts:
        parts = re.fullmatch(r"(\d+):(\d+)-(\d*)", text)
        if not parts:
            raise typer.BadParameter(f"{text!r} is not PARTITION:FIRST-END, such as 0:1000-2000 or 0:1000-")
        ranges[int(parts[1])] = (int(parts[2]), int(parts[3]) if parts[3] else -1)
    return ranges


def retrain(
    newest_events: Annotated[
        int | None,
        typer.Option(min=2, help="train on at most this many events (default: 500000 since the champion)"),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="first event time, UTC (default: since the champion's)")
    ] = None,
    until: Annotated[str | None, typer.Option(help="end before this event time, UTC")] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(help="PARTITION:FIRST-END; may be repeated; other partitions are not read"),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="read a folder of `nextclick archive` instead of Kafka")
    ] = None,
    every: Annotated[str | None, typer.Option(help="run on a schedule: 30s, 15m, 6h, 1d (UTC)")] = None,
    cron: Annotated[
        str | None, typer.Option(help="run on a schedule given as cron expression: '0 */6 * * *' (UTC)")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="wall, or event: the event time that the log has reached")
    ] = "wall",
    runs: Annotated[int | None, typer.Option(min=1, help="end a schedule after this many runs")] = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    registry: RegistryDir = None,
    params: Params = None,
    set_: SetOptions = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the events (default: 1)")] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=0.5, help="newest share of the events, by which the gate judges (default: 0.1)"
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="largest loss of Recall@20 and MRR@20 the gate accepts (default: 0.01)"),
    ] = None,
    step_factor: Annotated[
        float | None,
        typer.Option(help="longest step time the gate accepts, in champion's step times (default: 4)"),
    ] = None,
    min_sessions: Annotated[
        int | None, typer.Option(min=1, help="fewest sessions the gate judges by (default: 100)")
    ] = None,
    finish: Annotated[bool, typer.Option(help="once accepted, train on the held-out events, too")] = True,
    promote: Annotated[bool, typer.Option(help="make an accepted version the champion")] = True,
    announce: Annotated[bool, typer.Option(help="announce the version to the workers")] = True,
    metrics_file: Annotated[
        Path | None,
        typer.Option(help="*.prom file for node_exporter's textfile collector, written after each run"),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="threads of the training; more help only on an idle machine")
    ] = 1,
    topic: Annotated[str | None, typer.Option(help="topic of the events")] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the champion further on the newest events; if the gate accepts the result, promote it.

    Exit: 0 when a version was accepted, 3 when the gate refused it, 2 when the run failed. A schedule
    continues with its next run in every case. Prometheus can scrape a schedule when
    NEXTCLICK_METRICS_PORT is set; runs started by cron write a --metrics-file.
    """
    if every and cron:
        raise typer.BadParameter("--every and --cron are two ways to say the same; give one")
    if clock not in ("wall", "event"):
        raise typer.BadParameter(f"--clock is wall or event, not {clock!r}")
    if not (every or cron) and (runs is not None or clock != "wall"):
        raise typer.BadParameter("--runs and --clock are of a schedule; give --every or --cron too")
    event_filter(kind, category, where=where)
    settings = load_settings(
        bootstrap_servers=bootstrap_servers,
        registry_dir=registry,
        events_topic=topic,
        retrain_epochs=epochs,
        gate_fraction=held_out,
        gate_margin=margin,
        gate_step_factor=step_factor,
        gate_min_sessions=min_sessions,
    )
    start_logs(settings)
    options = RetrainOptions(
        WindowOptions(
            parse_moment(from_),
            parse_moment(until),
            newest_events,
            parse_offsets(offsets),
            archive,
            decoder_of(settings),
        ),
        {**(read_params(params) if params else {}), **parse_settings(set_ or [])},
        choose=partial(event_filter, kind, category, where=where),
        finish=finish,
        promote=promote,
        announce=announce,
        threads=threads,
    )
    check_folder("--registry", settings.registry_dir)
    check_file("--metrics-file", metrics_file)
    metrics = RetrainMetrics(settings.registry_dir)
    if not (every or cron):
        with _metrics_of_run(metrics, metrics_file):
            report = _run(settings, options, as_json)
        if report.outcome == "refused":
            raise typer.Exit(EXIT_REFUSED)
        return
    with serve_metrics(settings, metrics):
        log.print(f"next run by {every or cron}, {clock} time, UTC", highlight=False)
        for tick_ms in islice(_ticks(settings, options.window.decoder, every, cron, clock), runs):
            until_ms = tick_ms if clock == "event" else options.window.until_ms
            log.print(f"run of {moment(tick_ms)}, {clock} time", highlight=False)
            window = replace(options.window, until_ms=until_ms)
            try:
                with _metrics_of_run(metrics, metrics_file):
                    _run(settings, replace(options, window=window), as_json)
            except NextclickError as error:
                _report_failed_run(error)


def _report_failed_run(error: NextclickError) -> None:
    """Report the failed run of a schedule, which continues with its next run."""
    if tells_json():
        logger.error(
            "a run failed: %s",
            error.what,
            extra=happening("retrain_failed", meaning=error.meaning, remedy=error.remedy),
        )
        return
    log.print(f"[bold red]failed:[/] {escape(error.what)}\n{escape(error.meaning)}", highlight=False)
    log.print("the next run is made all the same", highlight=False)


@contextmanager
def _metrics_of_run(metrics: RetrainMetrics, path: Path | None) -> Iterator[None]:
    """Mark a run as under way; when it ends, in success or failure, write its series to `path`."""
    metrics.running, begin_s = True, time.time()
    try:
        yield
    except RetrainUnderWay:
        raise
    except Exception:
        metrics.add_failure(begin_s)
        raise
    finally:
        metrics.running = False
        if path is not None:
            write_metrics(path, metrics)


def _ticks(
    settings: Settings, decoder: EventDecoder, every: str | None, cron: str | None, clock: str
) -> Iterator[int]:
    """The moments of the schedule, each when the clock reaches it."""
    schedule = Every(every) if every else Cron(cron or "")
    since_ms = None
    if clock == "event":
        # Events in the log that the champion has not learned from count towards the first moment.
        registry = Registry(settings.registry_dir)
        if registry.champion():
            since_ms = registry.load().manifest["data"].get("last_event_time_ms")

    def notify(text: str) -> None:
        log.print(text, highlight=False)

    return ticks(
        schedule,
        LogClock(settings, decoder) if clock == "event" else WallClock(),
        since_ms=since_ms,
        notify=notify,
    )


def _run(settings: Settings, options: RetrainOptions, as_json: bool) -> RunReport:
    """Make one run and print its outcome."""

    def notify(text: str) -> None:
        log.print(text, highlight=False, markup=False)

    try:
        report = run_once(settings, options, bar=progress_bar, notify=notify)
    except OSError as error:
        # The lock, or the report itself.
        raise disk_error(settings.registry_dir, error) from None
    if as_json:
        print(json.dumps(report.as_dict()), flush=True)
        return report
    out.print(headline(report), highlight=False, markup=False)
    decision = report.decision
    for row in decision.standings if decision else []:
        out.print(
            f"  {row.name}: Recall@20 {row.recall.mean:.4f}, MRR@20 {row.mrr.mean:.4f}",
            highlight=False,
            markup=False,
        )
    for note in decision.notes if decision else []:
        out.print(f"  note: {note}", highlight=False, markup=False)
    out.print(
        f"  {sum(report.seconds.values()):.1f} s; report: {report.folder}/report.md",
        highlight=False,
        markup=False,
    )
    return report
