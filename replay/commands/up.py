"""`nextclick up`: from a topic or a file to lists on the page, in one command.

Tested by tests/integration/test_up.py.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from model.errors import NextclickError
from replay.commands.named_log import NewestEvents
from replay.commands.options import Brokers
from replay.commands.outputs import check_file
from replay.commands.replay import replay
from replay.commands.train import train
from replay.commands.up_choices import (
    Choices,
    choose_common,
    choose_for_file,
    choose_for_topic,
    mapping_file,
    settings_so_far,
    write_choices,
)
from replay.console import log, out
from replay.datasets.event_files import EventFiles
from stream.access.own_requests import own_address
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import ensure_topics
from stream.log_mapping import read_mapping
from stream.settings import CONFIG_VARIABLE, Settings, load_settings

CONFIG = "nextclick.toml"
# A first model of so many of the newest records, by so many passes, takes a core some 90 s.
NEWEST_EVENTS = 50_000
EPOCHS = 2
# Below, an error of the training is one of too few events.
FEW_EVENTS = 2_000
# The newest share of a file that is replayed, which the first model is evaluated on.
REPLAYED = 0.1


def up(
    file: Annotated[
        Path | None, typer.Argument(help="a log, which is replayed into the topic; else the topic has one")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="topic of the events, of any shape (default: events)")
    ] = None,
    bootstrap_servers: Brokers = None,
    columns: Annotated[
        str | None, typer.Option(help="what is known of the log, as of train: item=sku; the rest is guessed")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help=f"TOML file of the settings (default: NEXTCLICK_CONFIG, or {CONFIG})")
    ] = None,
    newest_events: NewestEvents = NEWEST_EVENTS,
    epochs: Annotated[int, typer.Option(min=1, help="passes of the first training over them")] = EPOCHS,
    web_port: Annotated[int | None, typer.Option(min=1, max=65535, help="of the page")] = None,
    worker: Annotated[bool, typer.Option(help="start the worker in the end, in the foreground")] = True,
) -> None:
    """From a topic, or a file, to lists on the page: mapping, topics, first model, worker.

    Each choice is shown with its evidence and written to a file that all commands read. What is not sure is
    asked, or refused where nobody can be asked. Run again, it goes on with what is written. Ctrl-C ends it.
    """
    path = config or Path(os.environ.pop(CONFIG_VARIABLE, CONFIG))
    if file is not None and not file.exists():
        raise typer.BadParameter(f"there is no file {file}")
    if path.exists():
        log.print(f"going on with what {path} says", highlight=False, markup=False)
    else:
        if topic is None and file is None:
            topic = settings_so_far().events_topic
        check_file("--config", path)
        choices = Choices()
        choose_common(choices, bootstrap_servers, web_port)
        if file is not None:
            if topic is not None:
                choices.choose("events_topic", topic, "said")
            choose_for_file(choices, path, file, columns)
        else:
            assert topic is not None
            choose_for_topic(choices, path, topic, bootstrap_servers, columns)
        write_choices(path, choices)
        out.print(
            f"written: {path}; for other commands: export NEXTCLICK_CONFIG={path}",
            markup=False,
            highlight=False,
        )
    os.environ[CONFIG_VARIABLE] = str(path)
    settings = load_settings(bootstrap_servers=bootstrap_servers, web_port=web_port)
    if topic is not None and settings.events_topic != topic:
        raise NextclickError(
            f"{path} is of the topic {settings.events_topic}, not of {topic}",
            "What was chosen for one topic does not hold for another; nothing was started.",
            "Name another file of settings with --config, or remove this one.",
        )
    made = ", ".join(f"{name} ({count})" for name, count in ensure_topics(settings).items())
    out.print(f"topics, and their partitions: {made}", markup=False, highlight=False)
    # What the command line says of the brokers holds for the steps that follow, too.
    os.environ.update(settings.environment())
    if file is None:
        _first_model(settings, path, newest_events, epochs)
    else:
        mapping = mapping_file(path, file.name)
        mapping_or_none = mapping if mapping.exists() else None
        train([file], mapping=mapping_or_none, on_error="skip", epochs=epochs, unless_champion=True)
        _replay_newest(settings, file, mapping_or_none)
    address = own_address(settings)
    if not worker:
        out.print(f"next: NEXTCLICK_CONFIG={path} nextclick worker, and the page is {address}", markup=False)
        return
    out.print(f"the page: {address}; Ctrl-C ends the worker, nextclick up goes on", markup=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # In place of this process, whose training has filled its memory.
    os.execv(sys.executable, [sys.executable, "-m", "nextclick", "worker"])


def _first_model(settings: Settings, path: Path, newest_events: int | None, epochs: int) -> None:
    with TopicReader(settings, settings.events_topic) as reader:
        records = sum(end - first for first, end in reader.bounds())
    try:
        train(from_topic=True, newest_events=newest_events, epochs=epochs, unless_champion=True)
    except NextclickError as error:
        if records >= FEW_EVENTS:
            raise
        raise NextclickError(
            f"a first model cannot be trained from the {records:,} records of {settings.events_topic}: "
            f"{error.what}",
            f"They are too few to learn from and to evaluate. What was chosen is kept in {path}.",
            f"Run it again when more have come; from some thousand on a model has something to learn. "
            f"Else: {error.remedy}",
        ) from None


def _replay_newest(settings: Settings, file: Path, mapping: Path | None) -> None:
    """Replay the newest part of a file into an empty topic."""
    with TopicReader(settings, settings.events_topic) as reader:
        there = sum(end - first for first, end in reader.bounds())
    if there:
        log.print(f"{settings.events_topic} has {there:,} records: nothing is replayed", highlight=False)
        return
    named = None if mapping is None else read_mapping(mapping)
    frames = EventFiles([file], columns=named, on_error="skip").read(Counter())
    times_ms = np.concatenate([frame["event_time_ms"].to_numpy(np.int64) for frame in frames])
    begin_ms = int(np.quantile(times_ms, 1 - REPLAYED, method="higher"))
    begin = datetime.fromtimestamp(begin_ms / 1000, UTC).isoformat()
    replay([file], from_=begin, mapping=mapping, on_error="skip")
