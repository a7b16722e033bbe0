"""The commands explain themselves, the pages name them all, and what pages show runs."""

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import nextclick
from replay.commands.bench import BENCHMARKS
from tests.conftest import ROOT
from tests.harness import fork_server
from tests.harness.pages import PAGES, Page

COMMAND_LINE: Any = get_command(nextclick.app)
COMMANDS = set(COMMAND_LINE.commands)
GROUPS = {name for name in COMMANDS if hasattr(COMMAND_LINE.commands[name], "commands")}
COMMANDS_PAGE = Page(ROOT / "deploy" / "docs" / "commands.md")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return fork_server.run(*arguments, env={**os.environ, "COLUMNS": "200", **environment}, timeout=500)


@cache
def help_of(*words: str) -> str:
    """What a command says of itself; a benchmark, which is a program of its own, in its own process."""
    if words[0] == "bench":
        printed = run(*words, "--help")
        assert printed.returncode == 0, printed.stderr
        return printed.stdout
    # In this process: each of their own would import torch anew.
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(nextclick.app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    return shown.output


def test_every_command_has_help_with_an_example() -> None:
    for name in sorted(COMMANDS - {"bench"}):
        assert "Example: " in help_of(name), name
    for name in BENCHMARKS:
        assert f"usage: nextclick bench {name}" in help_of("bench", name)


def test_the_page_of_commands_names_every_command_and_no_other() -> None:
    sections = set(re.findall(r"^### nextclick (\S+)$", COMMANDS_PAGE.text, re.MULTILINE))
    assert sections == COMMANDS
    named = set(re.findall(r"nextclick ([a-z]+)\b", "\n".join(COMMANDS_PAGE.shell_lines())))
    assert named <= COMMANDS


def test_every_command_that_a_page_shows_exists_with_its_options() -> None:
    for page in PAGES:
        for line in page.shell_lines():
            found = re.match(
                rf"(?:NEXTCLICK_\w+=\S+ )*nextclick ((?:(?:{'|'.join(GROUPS)}) )?[a-z]+)(.*)", line
            )
            if not found:
                continue
            shown = help_of(*found[1].split())
            for option in re.findall(r"(?<= )--[a-z-]+", found[2]):
                assert option in shown, f"{page.path.name}: {line}"


def test_every_script_that_a_page_shows_is_there() -> None:
    for page in PAGES:
        for line in page.shell_lines():
            for script in re.findall(r"(?:^|[ '\"])\.?/?((?:deploy|tests)/[\w./-]+)", line):
                assert (ROOT / script).exists(), f"{page.path.name}: {line}"


def test_commands_without_a_broker_run_as_the_pages_show(tmp_path: Path) -> None:
    log = tmp_path / "clicks.csv"
    rows = [f"{1506826800000 + n * 1000},{n // 4},{n // 4},{n % 4 + n // 40 % 5}" for n in range(400)]
    log.write_text("timestamp_ms,session_id,user_id,item_id\n" + "\n".join(rows) + "\n")

    registry = str(tmp_path / "registry")
    trained = run("train", str(log), "--epochs", "1", "--hidden-size", "8", NEXTCLICK_REGISTRY_DIR=registry)
    assert trained.returncode == 0, trained.stderr
    assert "(champion)" in trained.stdout
    listed = run("models", "--json", NEXTCLICK_REGISTRY_DIR=registry)
    assert listed.returncode == 0
    assert '"champion": true' in listed.stdout
    evaluated = run("evaluate", str(log), "--json", NEXTCLICK_REGISTRY_DIR=registry)
    assert evaluated.returncode == 0
    assert '"recall"' in evaluated.stdout
    settings = run("settings", "--json", NEXTCLICK_REGISTRY_DIR=registry)
    assert '"source": "environment"' in settings.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "/nowhere.csv"], "cannot be opened"),
        (["evaluate", "README.md"], "no champion"),
        (["train", "README.md"], "the format is unknown"),
        (["train", "README.md", "--on-error", "shrug"], "stop or skip"),
        (["replay", "README.md", "--speed", "fast"], "above 0 or max"),
        (["replay", "README.md", "--from", "yesterday"], "no ISO time"),
        (["worker", "--bootstrap-servers", "127.0.0.1:9"], "no Kafka broker answered"),
        (["archive", "--bootstrap-servers", "127.0.0.1:9"], "no Kafka broker answered"),
    ],
)
def test_misuse_ends_with_code_2_and_says_why(arguments: list[str], words: str, tmp_path: Path) -> None:
    registry = ["--registry", str(tmp_path)] if arguments[0] in ("train", "evaluate") else []
    ended = run(*arguments, *registry)
    assert ended.returncode == 2
    assert words in ended.stderr
