"""`nextclick promote`: make a version the champion.

First the version is loaded and the brokers are asked; then CHAMPION moves; then the workers are told.
After an interruption the same command finishes the change: CHAMPION stays, the workers are told again.
Tested by tests/integration/test_promote.py.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import out
from stream.kafka.announcements import announce_champion, check_models_topic
from stream.settings import load_settings


def promote(
    version: Annotated[str, typer.Argument(help="as `nextclick models` lists it")],
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion; running workers switch to it between two waves."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    versions = Registry(settings.registry_dir)
    # A version that cannot be loaded is refused before Kafka is asked.
    versions.load(version)
    check_models_topic(settings)
    before = versions.promote(version)
    announce_champion(settings, version, before)
    show_champion(version, before, as_json)


def show_champion(version: str, before: str | None, as_json: bool) -> None:
    """Print which version is champion now, and which was before."""
    result: dict[str, Any] = {"version": version, "before": before}
    if as_json:
        print(json.dumps(result))
        return
    note = "it was before; announced again" if before == version else f"before: {before or 'none'}"
    out.print(f"{version} is champion ({note})", highlight=False)
