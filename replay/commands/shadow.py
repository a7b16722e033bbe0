"""`nextclick shadow`: let a version step events beside the champion without serving lists.

Tested by tests/integration/test_promote.py and tests/faults/test_shadow.py.
"""

from __future__ import annotations

from typing import Annotated

import typer

from model.registry.registry import Registry
from replay.commands.options import Brokers, RegistryDir
from replay.console import out
from stream.kafka.announcements import ShadowAnnouncement, announce_shadow, check_models_topic
from stream.settings import load_settings


def shadow(
    version: Annotated[str | None, typer.Argument(help="as `nextclick models` lists it")] = None,
    share: Annotated[float, typer.Option(min=0.001, max=1, help="of sessions, by a hash of their id")] = 0.1,
    stop: Annotated[bool, typer.Option("--stop", help="end the shadow")] = False,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
) -> None:
    """Let a version step beside the champion without serving; /api/status and /metrics compare them."""
    if stop == bool(version):
        raise typer.BadParameter("give a VERSION, or --stop")
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    if version:
        Registry(settings.registry_dir).load(version)
    check_models_topic(settings)
    announce_shadow(settings, ShadowAnnouncement(version, share) if version else None)
    told = f"{version} steps in the shadow of {share:.1%} of sessions" if version else "the shadow has ended"
    out.print(told, highlight=False)
