"""`nextclick evaluate`: the quality of a version on event files.

Tested by tests/unit/replay/commands/test_filtered_commands.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import by_user, newest_of
from model.evaluation.rank_targets import rank_targets
from model.registry.registry import Registry
from replay.commands.options import (
    Category,
    Files,
    Format,
    Items,
    Json,
    Kind,
    OnError,
    RegistryDir,
    check_items,
    event_filter,
)
from replay.commands.read_split import LogFiles, Split, SplitChoice
from replay.commands.training_output import show
from replay.console import log, out, progress_bar
from replay.datasets.event_filter import EventFilter
from stream.settings import load_settings


def evaluate(
    files: Files,
    model: Annotated[str | None, typer.Option(help="version; default: the champion")] = None,
    split: Split = "temporal",
    items: Items = "known",
    registry: RegistryDir = None,
    kind: Kind = None,
    category: Category = None,
    format: Format = None,
    on_error: OnError = "stop",
    as_json: Json = False,
) -> None:
    """Next-item Recall@20 and MRR@20 of a version over all steps of the files' sessions.

    --split user evaluates the newest twentieth of each user's steps.
    """
    if split == "shuffled":
        raise typer.BadParameter("--split shuffled is for training: an evaluation takes all sessions")
    all_items, users = check_items(items), SplitChoice(split).by_user
    loaded = Registry(registry or load_settings().registry_dir).load(model)
    wanted, trained_on = event_filter(kind, category), loaded.manifest["data"].get("filter", {})
    if wanted.as_dict() != trained_on:
        log.print(
            f"the version was trained on events {EventFilter.of(trained_on) or 'of all kinds'}, "
            f"it is evaluated on events {wanted or 'of all kinds'}",
            highlight=False,
        )
    frame = LogFiles(files, format, on_error, wanted).load()
    rule = SessionRule(None if users else loaded.config.session_gap_s)
    sessions = Sessions.from_frame(by_user(frame) if users else frame, loaded.vocabulary, rule)
    sessions = newest_of(sessions) if users else sessions
    with progress_bar("evaluating") as bar:
        scored = rank_targets(
            loaded.network,
            sessions,
            exclude_session_items=loaded.config.exclude_session_items,
            popularity_V=loaded.vocabulary.counts if all_items else None,
            progress=lambda done, total: bar(done, total, "events"),
        ).evaluation()
    if as_json:
        print(json.dumps({"version": loaded.version, **scored.as_dict()}))
        return
    show({loaded.version: scored})
    unknown = "counted as missed" if all_items else "left out"
    out.print(f"{scored.unknown:,} events of unknown items {unknown}", highlight=False)
