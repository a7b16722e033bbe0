"""`nextclick verify`: compares a topic with the certificate of a replay.

Tested by tests/integration/test_certificate.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from replay.certificates.certificate import EVENTS, read_certificate
from replay.certificates.verify import verify as verify_topic
from replay.commands.options import Json
from replay.console import log, moment, out, progress_bar
from stream.settings import load_settings


def verify(
    certificate: Annotated[Path, typer.Argument(help="file written by `nextclick replay --certificate`")],
    topic: Annotated[
        str | None, typer.Option(help="compare with this topic instead of the one that the certificate names")
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a topic with the certificate of a replay; print the first difference of each partition.

    Exit: 1 when they differ.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, events_topic=topic)
    certified = read_certificate(certificate, EVENTS, topic)
    with progress_bar("reading the topic") as bar:
        result = verify_topic(
            settings,
            certified,
            certificate,
            progress=lambda done, total: bar(done, total, "records"),
        )
    if as_json:
        print(json.dumps({"topic": certified.topic, **result.as_dict()}))
    elif result.holds:
        out.print(
            f"{certified.topic} holds the {result.records:,} certified records in their order, "
            f"{moment(result.first_event_time_ms)} to {moment(result.last_event_time_ms)}; "
            f"multiset SHA-256 {certified.multiset_sha256}",
            highlight=False,
        )
    else:
        for found in result.differences:
            where = f"partition {found.partition}"
            where += "" if found.offset is None else f", offset {found.offset}"
            out.print(f"{where}: {found.what}", highlight=False, markup=False)
        same = "the same records in another order" if result.same_multiset else "not the same records"
        out.print(
            f"{certified.topic} holds {result.found:,} records in the places of {result.records:,} certified "
            f"ones: {same}",
            highlight=False,
        )
    if result.same_topic is False:
        log.print(
            f"{certified.topic} was made anew since, or is another cluster's: its id is {result.topic_id}, "
            f"certified was {certified.topic_id}",
            highlight=False,
        )
    if not certified.topic_id and topic in (None, certified.topic):
        log.print("the certificate names no topic id, as older ones do: any topic may hold its records")
    if result.behind:
        log.print(f"{result.behind:,} more records stand behind the certified ones", highlight=False)
    if not result.holds:
        raise typer.Exit(1)
