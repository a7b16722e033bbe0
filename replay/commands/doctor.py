"""`nextclick doctor`: looks at everything that a worker needs, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import out
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
    """Examine broker, topics, group, clock, model, stores, disk, limits and versions. Changes nothing.

    May be run beside a worker. Exit: 1 when something FAILs, else 0.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    workers = worker or [f"http://{settings.web_host}:{settings.web_port}"]
    findings = []
    for finding in all_checks(settings, workers):
        findings.append(finding)
        if not as_json:
            _show(finding)
    bad = sum(finding.verdict == "FAIL" for finding in findings)
    if as_json:
        print(json.dumps({"ok": not bad, "findings": [asdict(finding) for finding in findings]}))
    else:
        warned = sum(finding.verdict == "WARN" for finding in findings)
        out.print(f"{len(findings)} findings: {bad} FAIL, {warned} WARN", highlight=False)
    raise typer.Exit(1 if bad else 0)


def _show(finding: CheckResult) -> None:
    colour = COLOURS[finding.verdict]
    text = escape(escaped(finding.found))
    out.print(f"[{colour}]{finding.verdict}[/] {finding.check}: {text}", highlight=False)
    if finding.remedy and finding.verdict != "PASS":
        out.print(f"     do: {escape(escaped(finding.remedy))}", highlight=False)
