"""`nextclick watch`: prints recommendations as they arrive.

Tested by tests/integration/test_command_line.py.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer

from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import moment, out
from replay.standard_streams import has_reader
from stream.kafka.lists_reader import recommendations
from stream.logs import escaped
from stream.settings import load_settings


def watch(
    from_start: Annotated[
        bool, typer.Option(help="start with the oldest list in the topic, not with new ones")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="end after this many lists")] = None,
    idle_s: Annotated[
        float | None, typer.Option(min=0.1, help="end after this many seconds without a list")
    ] = None,
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Subscribe to the recommendations and print them as they arrive."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    lists = islice(recommendations(settings, from_start=from_start, idle_s=idle_s), limit)
    if as_json:
        for received in lists:
            shown = received.recommendation
            fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
            print(json.dumps({**fields, "headers": received.headers}), flush=True)
            if not has_reader():
                return
        return
    folder = Registry(settings.registry_dir)
    titles = folder.load().vocabulary.titles if folder.champion() else {}
    for received in lists:
        shown = received.recommendation
        named = " · ".join(titles.get(item, item) for item in shown.items[:5])
        place = received.headers.get("position", "?")
        line = f"{moment(shown.event_time_ms)} {shown.session_id} #{place}: {named} …"
        out.print(escaped(line), markup=False, highlight=False)
        if not has_reader():
            return
