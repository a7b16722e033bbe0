"""`nextclick experiment`: let a challenger serve a share of sessions, and see which version sells.

Tested by tests/integration/test_experiment.py.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.options import Brokers, Json, RegistryDir
from replay.console import out, progress_bar
from stream.experiments.experiment import CHALLENGER, INTERLEAVE, SPLIT, Experiment, encode_experiment
from stream.kafka.announcements import (
    EXPERIMENT_KEY,
    announce_experiment,
    check_models_topic,
    kept_values,
)
from stream.outcomes.comparison_text import as_lines, as_values
from stream.outcomes.lead import announced_experiment, lead_by
from stream.outcomes.outcome_files import OutcomeFiles
from stream.outcomes.outcomes_reader import compared
from stream.settings import load_settings

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
    running = announced_experiment(settings)
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
def show(
    ended: Annotated[str | None, typer.Argument(help="id of an experiment that has ended")] = None,
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Show the experiment and who leads by clicks, baskets, purchases and revenue, as `outcomes` has them.

    `experiment` of /api/status says whether a worker serves it.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    check_models_topic(settings)
    one = None if ended else announced_experiment(settings)
    named = one.experiment if one else ended
    comparison = compared(settings, named) if named else None
    if as_json:
        known = msgspec.to_builtins(one) if one else {"experiment": named}
        values = as_values(comparison) if comparison else None
        known["gate_experiment"] = settings.gate_experiment
        print(json.dumps({**known, "comparison": values} if named else None))
        return
    if one or not named:
        _show(one, as_json)
    if comparison is not None:
        for line in as_lines(comparison):
            out.print(line, highlight=False, soft_wrap=True)
        if settings.gate_experiment != "none" and one:
            lead = lead_by(settings.gate_experiment, comparison)
            may = "may be promoted now" if lead.leader == CHALLENGER else "is not promoted before it leads"
            text = f"{one.challenger} {may} in {settings.gate_experiment} (gate_experiment): {lead.text}"
            out.print(text, highlight=False, soft_wrap=True)
    elif named:
        topic = settings.outcomes_topic
        out.print(f"nothing is recorded on {topic}: `nextclick outcomes` does it", highlight=False)


@experiment.command(epilog="Example: nextclick experiment export outcomes")
def export(
    folder: Annotated[Path, typer.Argument(help="of the Parquet files; what it has already stays")],
    bootstrap_servers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Add what the topic `outcomes` has more to a folder of Parquet, a row for each list.

    Goes on where the folder's newest files end, also after a kill; run it as often as the data are wanted.
    """
    settings = load_settings(bootstrap_servers=bootstrap_servers)
    with progress_bar("exporting") as bar:
        done = OutcomeFiles(folder).export(settings, lambda done, total: bar(done, total, "records"))
    if as_json:
        print(json.dumps(done._asdict()))
        return
    more = f", {done.lost:,} were gone before" if done.lost else ""
    out.print(f"{done.lists:,} lists written to {folder}{more}", highlight=False, markup=False)


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
