"""One way to name a log: files, folders, an archive, or the events topic, and what is what in it.

Tested by tests/unit/replay/commands/test_named_log.py and tests/integration/test_first_model.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from replay.commands.options import log_mapping
from stream.event_log.logged_events import LoggedEvents
from stream.ingest.decoders import decoder_of
from stream.log_mapping import LogMapping
from stream.settings import load_settings

LogPaths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="event files, also .xz .gz .bz2 .zip, folders of parts, a folder of `nextclick archive`, and "
        "metadata files (movies.dat, meta_Beauty.json.gz), which are recognised by their content, held in "
        "memory and joined",
        show_default=False,
    ),
]
FromTopic = Annotated[
    bool,
    typer.Option(
        "--from-topic",
        help="instead of FILES the events topic, up to its end at the start; --log says what is what in one "
        "of your own, as NEXTCLICK_EVENTS_MAPPING does",
    ),
]
NewestEvents = Annotated[
    int | None,
    typer.Option(min=2, help="of the topic at most about so many of the newest records"),
]


@dataclass(frozen=True)
class NamedLog:
    """What a command line names: `files`, or `topic`; `mapping` is of files."""

    files: Sequence[Path]
    mapping: LogMapping | None = None
    topic: LoggedEvents | None = None

    @property
    def names(self) -> list[str]:
        """The log in a few words, for reports."""
        return [path.name for path in self.files] if self.topic is None else [f"topic {self.topic.source}"]


def named_log(
    files: Sequence[Path] | None,
    *,
    from_topic: bool,
    format: str | None,
    columns: str | None,
    mapping: Path | None,
    brokers: str | None,
    newest: int | None = None,
) -> NamedLog:
    """The log that a command line names. Raises typer.BadParameter unless it is one.

    Raises NextclickError when the topic cannot be read, or the mapping is wrong.

    >>> named_log([Path("a.csv")], from_topic=False, format=None, columns=None, mapping=None, brokers=None)
    NamedLog(files=[PosixPath('a.csv')], mapping=None, topic=None)
    """
    if bool(files) == from_topic:
        raise typer.BadParameter(
            "both FILES and --from-topic are named; the log is one of them"
            if files
            else "no log is named: FILES, a folder of `nextclick archive`, or --from-topic"
        )
    if newest is not None and not from_topic:
        raise typer.BadParameter("--newest-events is of --from-topic")
    if not from_topic:
        return NamedLog(list(files or ()), log_mapping(columns, mapping))
    if columns is not None or format is not None:
        raise typer.BadParameter(
            "--columns and --format are of files; what is what in a topic says a TOML file, --log"
        )
    settings = load_settings(
        bootstrap_servers=brokers, events_mapping=None if mapping is None else str(mapping)
    )
    return NamedLog((), topic=LoggedEvents(settings, decoder=decoder_of(settings), newest=newest))


def topic_read_for_another(topic: str, *, mapping: Path | None, brokers: str | None) -> LoggedEvents:
    """The events of a topic that are sent on into another one, up to its end now.

    The mapping in the settings is that of their own events topic. Raises NextclickError when the topic
    cannot be read, or the mapping is wrong.
    """
    usual = load_settings(bootstrap_servers=brokers)
    settled = usual.events_mapping if usual.events_topic == topic else ""
    named = settled if mapping is None else str(mapping)
    # What is said of the topic that is written does not hold for this one.
    others = {"ingest_from": "", "web_events": False, **({} if named else {"schema_registry_url": ""})}
    settings = load_settings(bootstrap_servers=brokers, events_topic=topic, events_mapping=named, **others)
    return LoggedEvents(settings, decoder=decoder_of(settings))
