"""`nextclick acls`: what each role may do in Kafka: shown, granted, held against the brokers'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from model.errors import NextclickError
from replay.commands.options import Json
from replay.console import out
from stream.kafka.acls import FILE, Right, grant, granted, rights
from stream.settings import load_settings

EXIT_DIFFERENT = 1


def acls(
    role: Annotated[list[str] | None, typer.Option("--role", help="only this one; may stand again")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="grant them; as a super user")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="exit 1 if the brokers grant others")] = False,
    file: Annotated[Path, typer.Option(help="where the roles' rights are")] = FILE,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Kafka, host:port")] = None,
    as_json: Json = False,
) -> None:
    """The rights of each role on the topics and groups of the settings; to grant or to verify them."""
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    roles = rights(settings, file)
    unknown = set(role or ()) - roles.keys()
    if unknown:
        raise NextclickError(
            f"there is no role {', '.join(sorted(unknown))} in {file}",
            "Nothing was granted.",
            f"The roles are {', '.join(roles)}.",
        )
    wanted = [right for name in role or roles for right in roles[name]]
    if apply:
        grant(settings, wanted)
    missing: list[Right] = []
    extra: list[Right] = []
    if verify:
        there = granted(settings, {f"User:{name}" for name in role or roles})
        missing, extra = sorted(set(wanted) - there), sorted(there - set(wanted))
    show(wanted, missing, extra, as_json)
    if missing or extra:
        raise typer.Exit(EXIT_DIFFERENT)


def show(wanted: list[Right], missing: list[Right], extra: list[Right], as_json: bool) -> None:
    """Print rights, and which of them are not granted, and which are granted beside them."""
    if as_json:
        kinds = {"rights": wanted, "missing": missing, "extra": extra}
        print(json.dumps({kind: [vars(right) for right in found] for kind, found in kinds.items()}))
        return
    table = Table("user", "on", "name", "may", "")
    for right in sorted({*wanted, *extra}):
        note = "not granted" if right in missing else "granted, not wanted" if right in extra else ""
        table.add_row(right.principal, right.resource, right.name, right.operation, note)
    out.print(table)
