"""`nextclick promote`, `rollback` and `shadow`: which version serves, and which steps unseen.

First it is made sure that the version can serve and that the brokers answer; then CHAMPION moves,
and then the workers are told. Whoever is interrupted in between gives the same version to
`promote` again: that moves nothing and tells them again.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Json, RegistryDir
from replay.console import out
from stream.kafka.announcements import ShadowAnnouncement, announce, announce_shadow
from stream.kafka.topics import partition_counts
from stream.settings import Settings, load_settings

Version = Annotated[str, typer.Argument(help="as `nextclick models` lists it")]
Brokers = Annotated[str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")]


def promote(
    version: Version, registry: RegistryDir = None, bootstrap_servers: Brokers = None, as_json: Json = False
) -> None:
    """Make a version the champion; running workers take it up between two waves."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    folder = Registry(settings.registry_dir)
    # Refused before anybody is asked for anything.
    folder.load(version)
    check_brokers(settings)
    before = folder.promote(version)
    tell_workers(settings, version, before)
    show(version, before, as_json)


def rollback(
    to: Annotated[str | None, typer.Option("--to", help="a former champion; default: the last one")] = None,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Make the champion before this one the champion again; running workers take it up."""
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    folder = Registry(settings.registry_dir)
    current, former = folder.champion(), folder.champions.before()
    if current is None or not former:
        raise NextclickError(
            f"there is no champion before {current or 'the first one'} in {folder.root}",
            "Nothing can be rolled back to; what serves now goes on.",
            "`nextclick models` lists the versions, `nextclick promote VERSION` makes one the champion.",
        )
    version = to or former[-1]
    folder.load(version)
    if version not in former:
        raise NextclickError(
            f"{version} was not champion before {current}",
            f"The champions before it are {', '.join(former)}. What serves now goes on.",
            f"Name one of them, or `nextclick promote {version}`.",
        )
    check_brokers(settings)
    if not folder.go_back(version, instead_of=current):
        raise NextclickError(
            f"the champion is {folder.champion()} and not {current} any more",
            "Somebody else has promoted or rolled back at this moment; this command has changed nothing.",
            "Look at `nextclick models`, then try again.",
        )
    tell_workers(settings, version, current)
    show(version, current, as_json)


def shadow(
    version: Annotated[str | None, typer.Argument(help="as `nextclick models` lists it")] = None,
    share: Annotated[float, typer.Option(min=0.001, max=1, help="of sessions, by a hash of their id")] = 0.1,
    stop: Annotated[bool, typer.Option("--stop", help="end the shadow")] = False,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
) -> None:
    """Have a version step unseen beside the champion; /api/status and /metrics compare them."""
    if stop == bool(version):
        raise typer.BadParameter("give a VERSION, or --stop")
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    if version:
        Registry(settings.registry_dir).load(version)
    check_brokers(settings)
    announce_shadow(settings, ShadowAnnouncement(version, share) if version else None)
    told = f"{version} steps in the shadow of {share:.1%} of sessions" if version else "the shadow has ended"
    out.print(told, highlight=False)


def check_brokers(settings: Settings) -> None:
    """Raises NextclickError when no broker answers or there is no topic to announce on."""
    topics = partition_counts(AdminClient({**settings.kafka_config(), "log_level": 0}), settings)
    if not topics.get(settings.models_topic):
        raise NextclickError(
            f"there is no topic {settings.models_topic} at {settings.bootstrap_servers}",
            "No worker would hear of it. Nothing was changed.",
            "Make the topics with `nextclick topics`, or name the right brokers.",
        )


def tell_workers(settings: Settings, version: str, before: str | None) -> None:
    """Announce the champion. Raises NextclickError that says that CHAMPION has moved already."""
    try:
        announce(settings, version)
    except NextclickError as error:
        raise NextclickError(
            error.what,
            f"CHAMPION is {version} now (before: {before}), so a worker that starts serves it; "
            "those that run go on with what they have.",
            f"Look at the brokers, then `nextclick promote {version}`: it tells the workers again.",
        ) from error


def show(version: str, before: str | None, as_json: bool) -> None:
    """Say who is champion now, and who was."""
    result: dict[str, Any] = {"version": version, "before": before}
    if as_json:
        print(json.dumps(result))
        return
    note = "it was before; announced again" if before == version else f"before: {before or 'none'}"
    out.print(f"{version} is champion ({note})", highlight=False)
