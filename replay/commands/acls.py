"""`nextclick acls`: the Kafka rights of each role: shown, granted, compared with the brokers'.

Tested by tests/integration/test_security.py.
"""

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
    role: Annotated[list[str] | None, typer.Option("--role", help="only this role; may be repeated")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="grant the rights; needs a super user")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="exit 1 if the brokers grant other rights")
    ] = False,
    file: Annotated[
        Path,
        typer.Option(help="TOML file of the roles and their rights", show_default="the one that is shipped"),
    ] = FILE,
    bootstrap_servers: Annotated[str | None, typer.Option(help="Kafka, host:port")] = None,
    as_json: Json = False,
) -> None:
    """Show each role's rights in Kafka by the names of the settings; grant or verify them."""
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
    """Print the rights, marking those that are missing and those that are granted in addition."""
    if as_json:
        kinds = {"rights": wanted, "missing": missing, "extra": extra}
        print(json.dumps({kind: [vars(right) for right in found] for kind, found in kinds.items()}))
        return
    table = Table("user", "on", "name", "may", "")
    for right in sorted({*wanted, *extra}):
        note = "not granted" if right in missing else "granted, not wanted" if right in extra else ""
        table.add_row(right.principal, right.resource, right.name, right.operation, note)
    out.print(table)
