"""`nextclick evaluate`: the quality of a version on a log.

Tested by tests/unit/replay/commands/test_filtered_commands.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from model.data.event_filter import EventFilter
from model.data.learned_events import LearnedEvents
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import by_user, newest_of
from model.errors import NextclickError
from model.evaluation.rank_targets import rank_targets
from model.registry.registry import Registry
from replay.commands.log_files import LogFiles
from replay.commands.named_log import FromTopic, LogPaths, named_log
from replay.commands.options import (
    Brokers,
    Category,
    Columns,
    Device,
    Format,
    Items,
    Json,
    Kind,
    MappingFile,
    OnError,
    RegistryDir,
    Where,
    check_items,
    describe_filter,
    event_filter,
    inherited_mapping,
    learning_device,
)
from replay.commands.read_split import Split, SplitChoice
from replay.commands.training_output import show
from replay.console import log, moment, out, progress_bar
from stream.settings import load_settings


def evaluate(
    files: LogPaths = None,
    from_topic: FromTopic = False,
    model: Annotated[str | None, typer.Option(help="version; default: the champion")] = None,
    split: Split = "temporal",
    items: Items = "known",
    registry: RegistryDir = None,
    kind: Kind = None,
    category: Category = None,
    where: Where = None,
    format: Format = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    on_error: OnError = "stop",
    bootstrap_servers: Brokers = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Next-item Recall@20 and MRR@20 of a version over all steps of a log's sessions.

    --split user evaluates the newest twentieth of each user's steps.
    """
    if split.startswith("shuffled"):
        raise typer.BadParameter(f"--split {split} is for training: an evaluation takes all sessions")
    all_items, users = check_items(items), SplitChoice(split).by_user
    learning_on = learning_device(device)
    loaded = Registry(registry or load_settings().registry_dir).load(model)
    trained_on = EventFilter.recorded(loaded.manifest["data"])
    wanted = event_filter(kind, category, trained_on, where=where)
    if trained_on != wanted:
        log.print(
            f"the version was trained on {describe_filter(trained_on)}, "
            f"it is evaluated on events {wanted or 'of all kinds'}",
            highlight=False,
        )
    elif wanted and not (kind and category):
        log.print(f"evaluated on events {wanted}, as the version was trained", highlight=False)
    source = named_log(
        files, from_topic=from_topic, format=format, columns=columns, mapping=mapping,
        brokers=bootstrap_servers,
    )  # fmt: skip
    named = source.mapping
    if named is None:
        named = inherited_mapping(loaded.manifest["data"], loaded.version, source.files, format)
    frame = LogFiles(source.files, format, on_error, wanted, named, source.topic).load()
    rule = SessionRule(None if users else loaded.config.session_gap_s)
    sessions = Sessions.from_frame(by_user(frame) if users else frame, loaded.vocabulary, rule)
    sessions = newest_of(sessions) if users else sessions
    if loaded.config.targets == "last":
        log.print(
            "of each sequence the last event is the target, as the version was trained", highlight=False
        )
        sessions = sessions.only_last()
    learned = LearnedEvents.of(loaded.manifest["data"])
    evaluated, in_sample = int(sessions.counted.sum()), 0
    # A version of a split by user has learned each user's events up to those that are evaluated.
    if learned.until_ms is not None and not (users and loaded.manifest["data"].get("split") == "user"):
        in_sample = int((sessions.counted & (sessions.times_ms <= learned.until_ms)).sum())
    if in_sample:
        until = moment(learned.until_ms)
        log.print(
            f"in-sample: {in_sample:,} of {evaluated:,} evaluated events are not after {until}, up to which "
            "the version has learned; their figure says little of what comes: evaluate later files",
            highlight=False,
        )
    with progress_bar("evaluating") as bar:
        scored = rank_targets(
            loaded.network.to(learning_on),
            sessions,
            exclude_session_items=loaded.config.exclude_session_items,
            popularity_V=loaded.vocabulary.counts if all_items else None,
            progress=lambda done, total: bar(done, total, "events"),
        ).evaluation()
    if not scored.targets:
        raise NextclickError(
            "the log has no next event of an item that the version knows",
            "A figure of zero next events says nothing of the version; none is given.",
            "Evaluate a later part of the log that it learned from, another --split, or --items all.",
        )
    if as_json:
        print(json.dumps({"version": loaded.version, **scored.as_dict(), "in_sample_events": in_sample}))
        return
    show({loaded.version: scored})
    unknown = "counted as missed" if all_items else "left out"
    out.print(f"{scored.unknown:,} events of unknown items {unknown}", highlight=False)
