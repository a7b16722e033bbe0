"""`nextclick certify`: equal input and equal weights give equal lists, whether the worker is killed or not.

Tested by tests/faults/test_certify.py.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from model.registry.registry import Registry
from replay.certificates.certificate import LISTS, read_certificate
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Format,
    Json,
    Kind,
    MappingFile,
    OnError,
    RegistryDir,
    Where,
    event_filter,
    inherited_mapping,
)
from replay.commands.outputs import check_file
from replay.console import log, out
from replay.end_to_end.certified_lists import certify_lists, difference, first_rows
from replay.sending.event_time_order import in_event_time_order
from stream.settings import load_settings


def certify(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    model: Annotated[
        str | None, typer.Option(help="a version of the registry; default: the champion")
    ] = None,
    kills: Annotated[int, typer.Option(min=0, help="kill the worker this often, at random moments")] = 0,
    seed: Annotated[
        int | None, typer.Option(help="seed of the moments of the kills; default: random")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="serve at most this many events")] = None,
    certificate: Annotated[Path, typer.Option(help="file to write the certificate to")] = Path("lists.json"),
    compare: Annotated[
        Path | None, typer.Option(help="certificate of another run; exit 1 if the lists differ")
    ] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="partitions of the run's topics")] = None,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Serve a log by a new worker, killed at random if wanted, and print the hash of all lists.

    Equal input, weights and settings give an equal hash. The run makes its own topics and group, and
    removes them in the end. Exit: 1 when --compare finds a difference.
    """
    settings = load_settings(
        bootstrap_servers=bootstrap_servers, registry_dir=registry, partitions=partitions
    )
    check_file("--certificate", certificate)
    other = read_certificate(compare, LISTS) if compare else None
    wanted = event_filter(kind, category, where=where)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    served = Registry(settings.registry_dir).load(model)
    version, named = served.version, source.mapping
    if named is None:
        named = inherited_mapping(served.manifest["data"], version, source.files, format)
    log_files = LogFiles(source.files, format, on_error, wanted, named, source.topic)
    with tempfile.TemporaryDirectory(prefix="nextclick-certify-") as folder:
        made = certify_lists(
            settings,
            first_rows(in_event_time_order(log_files.event_files().read), limit),
            version,
            path=certificate,
            folder=Path(folder),
            kills=kills,
            moments=random.Random(seed),
            on_progress=lambda text: log.print(text, highlight=False),
        )
    log_files.print_notes()
    found = difference(made, certificate, other, compare) if other and compare else None
    whole = made.about["lists_sha256"]
    if as_json:
        same = {} if other is None else {"same": found is None}
        print(json.dumps({"lists_sha256": whole, "lists": made.records, **same, **made.about}))
    else:
        out.print(
            f"{made.records:,} lists of {version} for {made.about['events']:,} events, "
            f"{kills} kills ({made.about['kills_in_mid_stream']} with events under way), "
            f"{made.about['lists_twice']:,} lists published again\nSHA-256 {whole}",
            highlight=False,
        )
        if found is not None:
            event = (
                "" if found.event_id is None else f"; the first other list is that of event {found.event_id}"
            )
            out.print(f"another hash than {compare}{event}", highlight=False)
            for line in found.what:
                out.print(line, highlight=False, markup=False)
        elif other is not None:
            out.print(f"the same hash as {compare}", highlight=False)
    if found is not None:
        raise typer.Exit(1)
