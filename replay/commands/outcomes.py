"""`nextclick outcomes`: what came of each list, joined from the lists and the events that followed.

Tested by tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from replay.commands.options import Json
from replay.commands.stopping import stopping_by_signal
from replay.console import out, progress_bar, start_logs
from stream.ingest.decoders import decoder_of
from stream.kafka.topics import ensure_topics, outcomes_plan
from stream.metrics_server import serve_metrics
from stream.outcomes.metrics import OutcomeMetrics
from stream.outcomes.outcome_recorder import OutcomeRecorder
from stream.outcomes.outcome_report import OutcomeReport
from stream.settings import load_settings


def outcomes(
    within_s: Annotated[
        float | None,
        typer.Option(min=1, help="what is clicked or bought so long after a list counts"),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="end when no list that is there now can have its outcome yet")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="topic of the outcomes that are written")] = None,
    group: Annotated[str | None, typer.Option(help="the worker's group; these use GROUP-outcomes")] = None,
    worker_id: Annotated[str | None, typer.Option(help="name of this recorder, unique per process")] = None,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Kafka, host:port")] = None,
    as_json: Json = False,
) -> None:
    """Record what was clicked, put in the basket and bought of each list: each list once.

    Experiments are compared by it. Ends by SIGTERM or Ctrl-C. Prometheus can scrape it when
    NEXTCLICK_METRICS_PORT is set.
    """
    settings = load_settings(
        outcomes_within_s=within_s,
        outcomes_topic=topic,
        group_id=group,
        worker_id=worker_id,
        bootstrap_servers=bootstrap_servers,
    )
    start_logs(settings)
    ensure_topics(settings, more=[outcomes_plan(settings)])
    stopping = stopping_by_signal()
    with progress_bar("recording") as bar:

        def report(r: OutcomeReport) -> None:
            bar(r.events, r.events + r.lag, f"{r.outcomes:,} outcomes, lag {r.lag:,}")

        recorder = OutcomeRecorder(settings, decoder_of(settings), progress=report)
        read = (settings.events_topic, settings.recommendations_topic)
        with serve_metrics(settings, OutcomeMetrics(recorder.report, read)):
            result = recorder.run(stopping, until_end=until_end)
    if as_json:
        print(json.dumps({**vars(result), "difference": result.difference}))
        return
    out.print(
        f"{result.lists:,} lists = {result.outcomes:,} outcomes + {result.left_out.total():,} left out; "
        f"{result.waiting:,} in memory wait for their time",
        highlight=False,
    )
