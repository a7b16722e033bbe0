"""`nextclick promote`: make a version the champion.

First the version is loaded and the brokers are asked; then CHAMPION moves; then the workers are told, and
asked what they serve. After an interruption the same command finishes the change: CHAMPION stays, the workers
are told again.
Tested by tests/integration/test_promote.py.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import msgspec
import typer

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import log, out
from stream.doctor.taken_up import WorkerVersion, wait_until_served
from stream.kafka.announcements import announce_champion, check_models_topic
from stream.outcomes.lead import check_lead
from stream.settings import Settings, load_settings

EXIT_NOT_TAKEN_UP = 1
Wait = Annotated[
    bool, typer.Option(help="wait until each worker of the group serves it, and say which do not")
]
Timeout = Annotated[float, typer.Option(min=0, max=86_400, help="seconds to wait for the workers")]


def promote(
    version: Annotated[str, typer.Argument(help="as `nextclick models` lists it")],
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    wait: Wait = True,
    timeout: Timeout = 60.0,
    until_it_leads: Annotated[
        bool,
        typer.Option("--until-it-leads", help="wait until its experiment says so, with gate_experiment"),
    ] = False,
    regardless: Annotated[
        bool, typer.Option("--regardless", help="whatever an experiment says, with gate_experiment")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion; running workers switch to it between two waves.

    With NEXTCLICK_GATE_EXPERIMENT only once the running experiment says that it leads in that measure.
    Waits for the workers and says which serve it. Exit: 0 when all do, or none runs, or with --no-wait;
    1 when one serves another version or does not answer.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    versions = Registry(settings.registry_dir)
    # A version that cannot be loaded is refused before Kafka is asked.
    versions.load(version)
    check_models_topic(settings)
    against = None
    if not regardless:
        say = partial(log.print, highlight=False, markup=False)
        against = check_lead(settings, version, versions.champion, waits=until_it_leads, notify=say)
    if against is None:
        before = versions.promote(version)
    elif versions.succeed(version, against):
        before = against
    else:
        raise NextclickError(
            f"{version} leads over {against}, which is champion no longer",
            f"CHAMPION became {versions.champion()} meanwhile, which nothing compared it with; it stays.",
            f"`nextclick experiment start {version}` compares it with that, or promote it --regardless.",
        )
    announce_champion(settings, version, before)
    show_champion(settings, version, before, timeout if wait else None, as_json)


def show_champion(
    settings: Settings,
    version: str,
    before: str | None,
    timeout_s: float | None,
    as_json: bool,
    *,
    may_be_repeated: bool = True,
) -> None:
    """Print which version is champion now, which was before, and what the workers serve after `timeout_s`.

    Without `timeout_s` the workers are not asked. Raises typer.Exit when one does not serve the version,
    unless the command must not be run again: who retries by the exit code would go back once more.
    """
    result: dict[str, Any] = {"version": version, "before": before}
    if not as_json:
        note = "it was before; announced again" if before == version else f"before: {before or 'none'}"
        out.print(f"{version} is champion ({note})", highlight=False)
    try:
        workers = [] if timeout_s is None else wait_until_served(settings, version, timeout_s)
    except NextclickError as error:
        if as_json:
            print(json.dumps(result | {"workers": None, "problem": error.what}))
        if not may_be_repeated:
            log.print(f"{error.what}\n{error.meaning}\ndo: {error.remedy}", highlight=False, markup=False)
            return
        raise
    others = [one for one in workers if one.serves != version]
    if as_json:
        asked = {} if timeout_s is None else {"workers": msgspec.to_builtins(workers)}
        print(json.dumps(result | asked))
    elif timeout_s is not None:
        _show_workers(settings, version, workers)
    if others:
        names = ", ".join(one.worker for one in others)
        log.print(
            f"{len(others)} of {len(workers)} workers do not serve {version} after {timeout_s:g} s: {names}\n"
            "CHAMPION names it, so a worker that starts serves it; these go on with what they have.\n"
            "do: look for `announced version refused` in their logs and whether they can be reached; "
            f"`nextclick promote {version}` tells them again, a restart takes it up",
            highlight=False,
        )
        if may_be_repeated:
            raise typer.Exit(EXIT_NOT_TAKEN_UP)


def _show_workers(settings: Settings, version: str, workers: list[WorkerVersion]) -> None:
    for one in workers:
        if one.serves == version:
            found = "serves it"
        elif one.serves is None:
            found = f"what it serves is not known; {one.problem or 'no version is warm'}"
        else:
            found = f"serves {one.serves}" + (f"; {one.problem}" if one.problem else "")
        out.print(f"{one.worker}: {found}", highlight=False)
    if not workers:
        out.print(
            f"no worker is in the group {settings.group_id}; one that starts serves it", highlight=False
        )
