"""`nextclick rollback`: make a former champion the champion again, in the order of `promote`.

Tested by tests/integration/test_promote.py.
"""

from __future__ import annotations

from typing import Annotated

import typer

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.commands.promote import Timeout, Wait, show_champion
from stream.kafka.announcements import announce_champion, check_models_topic
from stream.settings import load_settings


def rollback(
    to: Annotated[str | None, typer.Option("--to", help="a former champion; default: the last one")] = None,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    wait: Wait = True,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Make the champion before this one the champion again; running workers switch to it.

    Waits for the workers, as `nextclick promote` does, with the same exit codes; without --to it ends
    with 0 once the champion has changed, since a repeat would go back one more.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    versions = Registry(settings.registry_dir)
    current, former = versions.champion(), versions.champions.before()
    if current is None or not former:
        raise NextclickError(
            f"there is no champion before {current or 'the first one'} in {versions.root}",
            "Nothing can be rolled back to; what serves now goes on.",
            "`nextclick models` lists the versions, `nextclick promote VERSION` makes one the champion.",
        )
    version = to or former[-1]
    versions.load(version)
    if version not in former:
        raise NextclickError(
            f"{version} was not champion before {current}",
            f"The champions before it are {', '.join(former)}. What serves now goes on.",
            f"Name one of them, or `nextclick promote {version}`.",
        )
    check_models_topic(settings)
    if not versions.go_back(version, instead_of=current):
        raise NextclickError(
            f"the champion is {versions.champion()} and not {current} any more",
            "Somebody else has promoted or rolled back at this moment; this command has changed nothing.",
            "Look at `nextclick models`, then try again.",
        )
    announce_champion(settings, version, current)
    # Without a name, the same command again would go back to the champion before that one.
    may_be_repeated = to is not None
    waited_s = timeout if wait else None
    show_champion(settings, version, current, waited_s, as_json, may_be_repeated=may_be_repeated)
