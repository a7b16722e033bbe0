"""`nextclick ingest`: topics of one's own mapped into `events`, each record once.

Tested by tests/faults/test_ingest.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from replay.commands.options import Json
from replay.commands.stopping import stopping_by_signal
from replay.console import out, progress_bar, start_logs
from stream.ingest.decoders import ingested_gap_s
from stream.ingest.ingest_metrics import IngestMetrics
from stream.ingest.ingest_report import IngestReport
from stream.ingest.ingester import Ingester
from stream.ingest.listed_events import ListedEvents
from stream.ingest.named_mappings import mapping_by
from stream.ingest.registry_schemas import SchemaRegistry
from stream.kafka.topics import ensure_topics
from stream.metrics_server import serve_metrics
from stream.session_gaps import check_champion
from stream.settings import load_settings


def ingest(
    from_: Annotated[
        list[str] | None,
        typer.Option("--from", help="TOPIC=MAPPING, a TOML file or a name such as segment; may be repeated"),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="end when everything that is there now is given on")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="topic of the events that are written")] = None,
    group: Annotated[str | None, typer.Option(help="the worker's group; ingesters use GROUP-ingest")] = None,
    worker_id: Annotated[str | None, typer.Option(help="name of this ingester, unique per process")] = None,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Kafka, host:port")] = None,
    as_json: Json = False,
) -> None:
    """Map topics of one's own into the events topic, each record once. Ends by SIGTERM or Ctrl-C.

    For topics that are not keyed by the session, records that hold lists of events, and events in several
    topics; NEXTCLICK_INGEST_FROM names them, too. Prometheus can scrape it when NEXTCLICK_METRICS_PORT is
    set.
    """
    settings = load_settings(
        ingest_from=",".join(from_) if from_ else None,
        events_topic=topic,
        group_id=group,
        worker_id=worker_id,
        bootstrap_servers=bootstrap_servers,
    )
    pairs = settings.ingested()
    if not pairs:
        raise typer.BadParameter("no topic to ingest: name one as TOPIC=MAPPING in --from")
    start_logs(settings)
    mappings = {name: mapping_by(mapping) for name, mapping in pairs.items()}
    gap_s = ingested_gap_s(mappings)
    if gap_s is not None:
        check_champion(gap_s, settings.registry_dir)
    mapped = {
        name: ListedEvents(
            mapping,
            SchemaRegistry(settings, f"{name}-value") if settings.schema_registry_url else None,
        )
        for name, mapping in mappings.items()
    }
    ensure_topics(settings)
    stopping = stopping_by_signal()
    with progress_bar("ingesting") as bar:

        def report(r: IngestReport) -> None:
            bar(r.taken, r.taken + r.lag, f"{r.events:,} events, lag {r.lag:,}")

        ingester = Ingester(settings, mapped, progress=report)
        with serve_metrics(settings, IngestMetrics(ingester.report)):
            result = ingester.run(stopping, until_end=until_end)
    if as_json:
        print(json.dumps({**vars(result), "difference": result.difference}))
        return
    out.print(
        f"{result.taken:,} records = {result.given_on:,} given on as {result.events:,} events "
        f"+ {result.left_out.total():,} left out + {result.dead_lettered.total():,} dead-lettered",
        highlight=False,
    )
