"""The choices of `nextclick up`, each with its evidence, and the file that keeps them for all commands.

Tested by tests/unit/replay/commands/test_up_choices.py and tests/integration/test_up.py.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from confluent_kafka.admin import AdminClient

from model.durable import replace_durably
from model.errors import NextclickError
from replay.commands.guess_output import EVENTS, FirstEvents, ask, first_events, show_events, show_evidence
from replay.console import out
from replay.datasets.detection import known_format
from replay.end_to_end.worker_process import free_port
from replay.mappings.guess import Guess, guess_mapping
from replay.mappings.log_sample import sample_of
from replay.mappings.said_columns import said_mapping
from replay.mappings.topic_guess import (
    LEAST_KNOWN,
    Decoded,
    check_key_is_session,
    decoded,
    guess_topic,
    known_shape,
    objects_of,
)
from stream.event_decoder import OWN_EVENTS, SchemaAwayError
from stream.event_log.columns import Record
from stream.event_log.topic_sample import sampled
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.named_mappings import mapping_by
from stream.ingest.registry_schemas import SchemaRegistry
from stream.ingest.registry_values import RegistryValues
from stream.kafka.topics import partition_counts
from stream.log_mapping import LogMapping
from stream.settings import PREFIX, Settings, load_settings

# Settings ask for a mapping beside a registry; until one is found, any.
ANY_MAPPING = "cloudevents"
REGISTRY_URL = "schema_registry_url"
OWN_TOPICS = ("recommendations_topic", "models_topic", "dlq_topic", "items_topic")


@dataclass
class Choices:
    """Settings, and why each of them is what it is."""

    settings: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def choose(self, name: str, value: Any, why: str) -> None:
        """Choose a setting, and show it."""
        self.settings[name], self.why[name] = value, why
        out.print(f"{name} = {value}: {why}", markup=False, highlight=False)

    def as_toml(self) -> str:
        """The settings as the TOML file that NEXTCLICK_CONFIG names.

        >>> print(Choices({"partitions": 4}, {"partitions": "of the topic"}).as_toml().splitlines()[-1])
        partitions = 4 # of the topic
        """
        lines = [f"{name} = {json.dumps(value)} # {self.why[name]}" for name, value in self.settings.items()]
        about = "# Chosen by nextclick up; change what is wrong. All commands read it: NEXTCLICK_CONFIG."
        return "\n".join([about, *lines]) + "\n"


def write_choices(path: Path, choices: Choices) -> None:
    """Write the file, whole or not at all."""
    replace_durably(path, choices.as_toml().encode(), path.with_name(f".{path.name}.unfinished"))


def mapping_file(config: Path, name: str) -> Path:
    """Where the mapping of a topic or a file is written: beside the settings.

    >>> mapping_file(Path("nextclick.toml"), "shop.clicks")
    PosixPath('shop.clicks.toml')
    """
    return config.parent / f"{name}.toml"


def settings_so_far(**flags: Any) -> Settings:
    """The settings while no mapping is chosen: with a registry they would ask for one."""
    named = {f"{PREFIX}{name}" for name in ("EVENTS_MAPPING", "INGEST_FROM")}
    has_registry = bool(os.environ.get(f"{PREFIX}{REGISTRY_URL.upper()}"))
    if has_registry and not named & os.environ.keys():
        flags["events_mapping"] = ANY_MAPPING
    return load_settings(**flags)


def choose_common(choices: Choices, brokers: str | None, web_port: int | None) -> None:
    """Choose the brokers, where they are said, and the port of the page."""
    if brokers is not None:
        choices.choose("bootstrap_servers", brokers, "said")
    usual = settings_so_far().web_port
    if web_port is not None:
        choices.choose("web_port", web_port, "said")
    elif not _is_free(usual):
        choices.choose("web_port", free_port(), f"{usual} is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_for_file(choices: Choices, config: Path, file: Path, said: str | None) -> None:
    """Have a file's mapping guessed and written, unless its layout is known or the mapping is there."""
    written = mapping_file(config, file.name)
    choices.choose("web_events", True, "the page sends clicks: the topic has nextclick's own events")
    if written.exists():
        out.print(f"mapping: {written} is there, and holds", markup=False, highlight=False)
        return
    known = known_format(file) if said is None else None
    if known is not None:
        out.print(f"mapping: none is needed, {file} is known as {known.name}", markup=False, highlight=False)
        return
    sample = sample_of(file)
    guess, _ = ask(
        str(file),
        lambda text: guess_mapping(sample, said_mapping(text)),
        said or "",
        f"nextclick up {shlex.quote(str(file))}",
    )
    assert guess.mapping is not None
    found = first_events(file, guess.mapping)
    show_evidence(guess)
    show_events(found)
    _write_mapping(written, guess)


def choose_for_topic(
    choices: Choices, config: Path, topic: str, brokers: str | None, said: str | None
) -> None:
    """Choose everything about a topic by what its records are.

    Raises NextclickError for a topic that is not there, is empty, or cannot be read where it lies.
    """
    url = os.environ.get(f"{PREFIX}{REGISTRY_URL.upper()}")
    settings = settings_so_far(bootstrap_servers=brokers, events_topic=topic)
    counts = partition_counts(AdminClient({**settings.kafka_config(), "log_level": 0}), settings)
    if topic not in counts:
        others = ", ".join(sorted(name for name in counts if not name.startswith("__"))[:12])
        raise NextclickError(
            f"there is no topic {topic} at {settings.bootstrap_servers}",
            f"It has {others}." if others else "It has no topics.",
            "Name the topic that has the events: --topic. `nextclick up FILE` makes one from a file.",
        )
    sample = sampled(settings, topic)
    if not sample.records:
        raise NextclickError(
            f"the topic {topic} is empty",
            "There is nothing to guess from or to learn from.",
            "Run it again when events have come, or replay a log into a topic: nextclick up FILE",
        )
    choices.choose(
        "events_topic", topic, f"said; {sample.offsets:,} records in {sample.partitions} partitions"
    )
    choices.choose("partitions", sample.partitions, f"as {topic} has")
    if url:
        choices.choose(REGISTRY_URL, url, "of the environment")
    _choose_topics(choices, counts, settings, sample.partitions)
    # Nobody else waits for its answers here.
    registry = SchemaRegistry(settings, answer_s=10.0) if url else None
    try:
        _choose_mapping(choices, config, topic, sample.records, registry, said)
    except SchemaAwayError as away:
        raise NextclickError(
            f"the schema registry does not give the schema {away.schema_id}: {away.why}",
            "The records cannot be read without it; nothing was started.",
            f"Look whether it runs, and at its address: NEXTCLICK_SCHEMA_REGISTRY_URL={url}",
        ) from None


def _choose_topics(choices: Choices, counts: Mapping[str, int], settings: Settings, partitions: int) -> None:
    """Names for the topics beside that of the events, where another nextclick has the usual ones."""
    topic = settings.events_topic
    if topic != Settings.model_fields["events_topic"].default:
        choices.choose("group_id", f"nextclick-{topic}", "a group for this topic")
    if counts.get(settings.recommendations_topic, partitions) != partitions:
        why = f"{settings.recommendations_topic} is there, with other partitions: of another installation"
        for name in OWN_TOPICS:
            choices.choose(name, f"{topic}.{getattr(settings, name)}"[:249], why)


def _choose_mapping(
    choices: Choices,
    config: Path,
    topic: str,
    records: list[Record],
    registry: SchemaRegistry | None,
    said: str | None,
) -> None:
    written = mapping_file(config, topic)
    is_written = written.exists()
    shape = None if said is not None or is_written else known_shape(records, registry)
    if shape == "" and registry is not None:
        raise NextclickError(
            f"the records of {topic} are nextclick's own events, and a schema registry is named",
            "Own events have no schema, and the settings that would be written contradict each other.",
            f"Unset {PREFIX}{REGISTRY_URL.upper()}.",
        )
    if shape == "":
        choices.choose("web_events", True, f"the records of {topic} are nextclick's own events")
        _show(records, decoded(records, OWN_EVENTS))
        return
    mapping: LogMapping | None
    if shape is not None:
        mapping, written = mapping_by(shape), Path(shape)
        choices.choose("events_mapping", shape, "the records are of this shape")
    elif is_written:
        mapping = mapping_by(str(written))
        choices.choose("events_mapping", str(written), "it is there, and holds")
    else:
        read = msgspec.json.decode if registry is None else RegistryValues([], registry).record
        objects = objects_of(records, read)
        command = f"nextclick up --topic {shlex.quote(topic)}"
        guess, _ = ask(topic, lambda text: guess_topic(objects, text), said or "", command)
        mapping = guess.mapping
        assert mapping is not None
        show_evidence(guess)
        _write_mapping(written, guess)
        choices.choose("events_mapping", str(written), "guessed")
    found = decoded(records, MappedDecoder(mapping, registry))
    _show(records, found)
    source = shlex.quote(f"{topic}={written}")
    check_key_is_session(
        found, records, f"nextclick ingest --from {source}, then nextclick up --topic events"
    )
    if found.known < LEAST_KNOWN / 2 or not found.events:
        raise NextclickError(
            f"by {written} {len(found.events):,} of {len(records):,} sampled records are events; left out: "
            f"{dict(found.left_out)}, rejected: {dict(found.rejected)}",
            "The mapping is not that of the topic; nothing was started.",
            f"Correct {written}, or remove it and say what is what: --columns session=…,item=…,time=…",
        )


def _show(records: list[Record], found: Decoded) -> None:
    rows = [msgspec.structs.asdict(event) for event in found.events[:EVENTS]]
    if rows:
        show_events(FirstEvents(pd.DataFrame(rows), len(records), dict(found.left_out + found.rejected)))


def _write_mapping(path: Path, guess: Guess) -> None:
    assert guess.mapping is not None
    about = "".join(f"# {role}: {why}\n" for role, why in guess.evidence.items())
    text = (
        f"# What is what, as nextclick up guessed it; change what is wrong.\n{about}{guess.mapping.as_toml()}"
    )
    replace_durably(path, text.encode(), path.with_name(f".{path.name}.unfinished"))
    out.print(f"mapping: written to {path}", markup=False, highlight=False)
