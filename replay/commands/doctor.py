"""`nextclick doctor`: checks everything that a worker needs, and changes nothing.

Tested by tests/integration/test_doctor.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import out
from stream.access.own_requests import own_address
from stream.doctor.check_result import CheckResult
from stream.doctor.checks import all_checks
from stream.logs import escaped
from stream.settings import load_settings

COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}
Workers = Annotated[
    list[str] | None, typer.Option("--worker", help="a worker's web address; may be repeated")
]


def doctor(
    worker: Workers = None,
    bootstrap_servers: Brokers = None,
    registry: RegistryDir = None,
    as_json: Json = False,
) -> None:
    """Check broker, topics, group, clock, model, stores, disk, limits and versions. Changes nothing.

    May run beside a worker. Exit: 1 when a check FAILs, else 0.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    workers = worker or [own_address(settings)]
    results = []
    for result in all_checks(settings, workers):
        results.append(result)
        if not as_json:
            _show(result)
    bad = sum(result.verdict == "FAIL" for result in results)
    if as_json:
        print(json.dumps({"ok": not bad, "findings": [asdict(result) for result in results]}))
    else:
        warned = sum(result.verdict == "WARN" for result in results)
        out.print(f"{len(results)} findings: {bad} FAIL, {warned} WARN", highlight=False)
    raise typer.Exit(1 if bad else 0)


def _show(result: CheckResult) -> None:
    colour = COLOURS[result.verdict]
    text = escape(escaped(result.found))
    out.print(f"[{colour}]{result.verdict}[/] {result.check}: {text}", highlight=False)
    if result.remedy and result.verdict != "PASS":
        out.print(f"     do: {escape(escaped(result.remedy))}", highlight=False)
