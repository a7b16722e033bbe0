"""`nextclick experiment`: let a challenger serve a share of sessions, and see which version sells.

Tested by tests/integration/test_experiment.py.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated

import msgspec
import typer

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import out
from stream.experiments.experiment import INTERLEAVE, SPLIT, Experiment, decode_experiment, encode_experiment
from stream.kafka.announcements import (
    EXPERIMENT_KEY,
    announce_experiment,
    check_models_topic,
    kept_values,
)
from stream.settings import Settings, load_settings

experiment = typer.Typer(
    help="Let a challenger serve a share of sessions beside the champion, and see which version sells.",
    epilog="Example: nextclick experiment start 20260101T120000000Z-1a2b3c4d --share 0.2",
    no_args_is_help=True,
)


@experiment.command(epilog="Example: nextclick experiment start 20260101T120000000Z-1a2b3c4d --share 0.2")
def start(
    challenger: Annotated[str, typer.Argument(help="as `nextclick models` lists it")],
    share: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="of sessions, by a hash of their id")
    ] = 0.2,
    mode: Annotated[
        str,
        typer.Option(help="split: the share is served by the challenger; interleave: by lists of both"),
    ] = SPLIT,
    registry: RegistryDir = None,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Let a version serve a share of sessions beside the champion, until `nextclick experiment stop`."""
    if mode not in (SPLIT, INTERLEAVE):
        raise typer.BadParameter(f"--mode is {SPLIT} or {INTERLEAVE}, not {mode!r}")
    settings = load_settings(bootstrap_servers=bootstrap_servers, registry_dir=registry)
    versions = Registry(settings.registry_dir)
    champion = versions.champion()
    if champion is None:
        raise NextclickError(
            f"there is no champion in {settings.registry_dir}",
            "An experiment holds a challenger against the version that serves.",
            "`nextclick train`, then `nextclick promote VERSION`.",
        )
    if champion == challenger:
        raise NextclickError(
            f"{challenger} is the champion",
            "Both sides would be served by one version.",
            "Name another version; `nextclick models` lists them.",
        )
    gaps_s = {name: versions.load(name).config.session_gap_s for name in (champion, challenger)}
    if len(set(gaps_s.values())) > 1:
        raise NextclickError(
            f"{champion} ends sessions after {gaps_s[champion]:g} s of silence, "
            f"{challenger} after {gaps_s[challenger]:g} s",
            "What a session is would depend on its side, so workers would refuse the experiment.",
            "Train the challenger with the champion's session gap.",
        )
    check_models_topic(settings)
    running = _announced(settings)
    if running is not None:
        raise NextclickError(
            f"experiment {running.experiment} of {running.challenger} runs already",
            "One experiment runs at a time; nothing was changed.",
            "`nextclick experiment stop`, then start this one.",
        )
    chosen = SPLIT if mode == SPLIT else INTERLEAVE
    begun = Experiment(secrets.token_hex(4), champion, challenger, share, chosen)
    announce_experiment(settings, encode_experiment(begun))
    _show(begun, as_json)


@experiment.command(epilog="Example: nextclick experiment stop")
def stop(bootstrap_servers: Brokers = None) -> None:
    """End the experiment: the champion serves every session again."""
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    check_models_topic(settings)
    # Not decoded: also what cannot be read is taken back.
    value = kept_values(settings)[0].get(EXPERIMENT_KEY)
    announce_experiment(settings, None)
    name = "no experiment ran" if value is None else "the experiment has ended"
    out.print(f"{name}; the champion serves every session", highlight=False)


@experiment.command(epilog="Example: nextclick experiment show")
def show(bootstrap_servers: Brokers = None, as_json: Json = False) -> None:
    """Show the experiment that is announced; `experiment` of /api/status says whether a worker serves it."""
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    check_models_topic(settings)
    _show(_announced(settings), as_json)


def _announced(settings: Settings) -> Experiment | None:
    value = kept_values(settings)[0].get(EXPERIMENT_KEY)
    try:
        return decode_experiment(value)
    except msgspec.DecodeError as error:
        raise NextclickError(
            f"the announced experiment on {settings.models_topic} cannot be read: {error}",
            "Workers refuse it, and the champion serves every session.",
            "`nextclick experiment stop` takes it back.",
        ) from None


def _show(one: Experiment | None, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(one)))
    elif one is None:
        out.print("no experiment runs", highlight=False)
    elif one.mode == SPLIT:
        out.print(
            f"experiment {one.experiment}: {one.challenger} serves {one.share:.1%} of sessions, "
            f"champion {one.champion} the others",
            highlight=False,
        )
    else:
        out.print(
            f"experiment {one.experiment}: {one.share:.1%} of sessions are served lists interleaved of "
            f"champion {one.champion} and {one.challenger}",
            highlight=False,
        )
