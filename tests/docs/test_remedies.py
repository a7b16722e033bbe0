"""Every command and option that an error's remedy, a log line or a warning names exists."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import nextclick
from tests.conftest import ROOT
from tests.harness.messages import constants

COMMAND_LINE: Any = get_command(nextclick.app)
FILES = [
    ROOT / "nextclick.py",
    *sorted(path for part in ("model", "stream", "replay") for path in (ROOT / part).rglob("*.py")),
]
# `nextclick word …` up to the end of the words that can be a part of it.
NAMED = re.compile(r"\bnextclick ((?:[a-z]+\b ?)(?:(?:--[a-z-]+|[A-Za-z0-9_.:/=…<>'\"@-]+) ?)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options of other programs and of benchmarks that texts name.
OF_OTHERS = {
    "replay/end_to_end/demo.py": {"--seconds"},
    "stream/ingest/protobuf_records.py": {"--descriptor", "--include"},  # protoc's
    "stream/kafka/acls.py": {"--secure"},
    "stream/kafka/topic_check.py": {
        "--add-config", "--alter", "--bootstrap-server", "--describe", "--entity-name", "--entity-type",
        "--under-replicated-partitions",
    },
}  # fmt: skip
# A command that a text names by its option alone: `tune` writes what `train --params` reads.
OF_OTHER_COMMANDS = {"tune": {"--params"}}
READ_LOGS = ("train", "evaluate", "compare", "tune", "cadence", "certify", "data", "replay")


@cache
def options_of(command: Any) -> frozenset[str]:
    """The options of a command and, for a group, of its commands."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    inner = getattr(command, "commands", {})
    return frozenset(own.union({"--help"}, *(options_of(inner[name]) for name in inner)))


def lacking(text: str) -> list[str]:
    """What a text names as a command or its option, and does not exist."""
    found = []
    for named in NAMED.finditer(text):
        words = [word.rstrip(".") for word in named[1].split()]
        command, path = COMMAND_LINE, "nextclick"
        while words and words[0] in getattr(command, "commands", {}):
            path += f" {words[0]}"
            command = command.commands[words.pop(0)]
        if command is COMMAND_LINE:
            found.append(f"no command {named[0].strip()!r}")
        elif not path.startswith("nextclick bench"):
            found += [
                f"{path} has no {option}"
                for option in OPTION.findall(" ".join(words))
                if option not in options_of(command)
            ]
    return found


def texts_of(path: Path) -> set[str]:
    return constants([path])


def test_every_command_that_a_text_names_has_the_options_it_names() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in FILES
        for text in texts_of(path)
        for what in lacking(text)
    ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_every_option_that_a_text_names_is_one_of_some_command() -> None:
    known = options_of(COMMAND_LINE)
    wrong = {
        f"{path.relative_to(ROOT)}: {option}"
        for path in FILES
        if path.name != "bench.py"
        for text in texts_of(path)
        for option in OPTION.findall(text)
        if option not in known | OF_OTHERS.get(str(path.relative_to(ROOT)), set())
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_a_command_names_only_options_of_its_own() -> None:
    wrong = []
    for name in COMMAND_LINE.commands:
        if name == "bench":
            continue
        path = ROOT / "replay" / "commands" / f"{name}.py"
        for text in texts_of(path):
            if "nextclick " in text:
                continue
            wrong += [
                f"{path.name}: {option}"
                for option in OPTION.findall(text)
                if option not in options_of(COMMAND_LINE.commands[name]) | OF_OTHER_COMMANDS.get(name, set())
            ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_what_reading_a_log_advises_exists_in_every_command_that_reads_one() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name} has no {option}"
        for room in ("reading", "datasets", "mappings")
        for path in sorted((ROOT / "replay" / room).glob("*.py"))
        for text in texts_of(path)
        if "nextclick " not in text
        for option in OPTION.findall(text)
        for name in READ_LOGS
        # Only a command that filters can find that its filter leaves nothing.
        if option not in options_of(COMMAND_LINE.commands[name]) | {"--kind", "--category", "--where"}
    }
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("`nextclick models` lists the versions", 0),
        ("`nextclick retrain --loop`, then look", 1),
        ("run `nextclick trian`", 1),
        ("`nextclick dlq replay --corrected FILE`", 0),
        ("`nextclick dlq replay --speed 3`", 1),
    ],
)
def test_what_does_not_exist_is_found(text: str, count: int) -> None:
    assert len(lacking(text)) == count
