"""`nextclick archive`: the event log as Parquet files, every event once.

Tested by tests/faults/test_archive.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import Json
from replay.commands.outputs import check_folder
from replay.commands.stopping import stopping_by_signal
from replay.console import out, progress_bar, start_logs
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_metrics import ArchiveMetrics
from stream.event_log.archiver import Archiver, ArchiveReport
from stream.ingest.decoders import decoder_of
from stream.metrics_server import serve_metrics
from stream.settings import load_settings


def archive(
    folder: Annotated[Path, typer.Option(help="folder of the archive; made if it does not exist")] = Path(
        "archive"
    ),
    rotate_events: Annotated[
        int, typer.Option(min=1, help="finish a file after this many records")
    ] = 1_000_000,
    rotate_s: Annotated[
        float, typer.Option(min=0.1, help="finish a file after this many seconds at the latest")
    ] = 300,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="end when the archive has all events that the log has now")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="topic of the events")] = None,
    group: Annotated[str | None, typer.Option(help="the worker's group; archivers use GROUP-archive")] = None,
    worker_id: Annotated[str | None, typer.Option(help="name of this archiver, unique per process")] = None,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Kafka, host:port")] = None,
    as_json: Json = False,
) -> None:
    """Archive the event log as Parquet files, every event once. Ends by SIGTERM or Ctrl-C.

    Prometheus can scrape it when NEXTCLICK_METRICS_PORT is set.
    """
    settings = load_settings(
        events_topic=topic, group_id=group, worker_id=worker_id, bootstrap_servers=bootstrap_servers
    )
    start_logs(settings)
    check_folder("--folder", folder)
    stopping = stopping_by_signal()
    with progress_bar("archiving") as bar:

        def report(r: ArchiveReport) -> None:
            bar(r.events, r.events + r.lag, f"{r.parts:,} files, lag {r.lag:,}")

        archiver = Archiver(
            settings,
            ArchiveFolder(folder),
            rotate_events=rotate_events,
            rotate_s=rotate_s,
            decoder=decoder_of(settings),
            progress=report,
        )
        with serve_metrics(settings, ArchiveMetrics(archiver.report)):
            result = archiver.run(stopping, until_end=until_end)
    if as_json:
        print(json.dumps({"events": result.events, "files": result.parts, "lag": result.lag}))
        return
    out.print(
        f"{result.events:,} events archived in {result.parts:,} files of {folder}, lag {result.lag:,}",
        highlight=False,
    )
