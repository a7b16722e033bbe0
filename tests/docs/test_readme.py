import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import nextclick
from replay.commands.bench import BENCHMARKS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMAND_LINE: Any = get_command(nextclick.app)
COMMANDS = set(COMMAND_LINE.commands)
GROUPS = {name for name in COMMANDS if hasattr(COMMAND_LINE.commands[name], "commands")}
LINES = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nextclick", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


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


@pytest.mark.parametrize("script", ["./deploy/demo", "./tests/run"])
def test_the_two_commands_of_the_readme_are_there_to_run(script: str) -> None:
    assert script in LINES
    assert os.access(ROOT / script, os.X_OK)


def test_every_command_has_help_with_an_example() -> None:
    for name in sorted(COMMANDS - {"bench"}):
        assert "Example: " in help_of(name), name
    for name in BENCHMARKS:
        assert f"usage: nextclick bench {name}" in help_of("bench", name)


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"nextclick ([a-z]+)\b", "\n".join(LINES)))
    assert named == COMMANDS


def test_every_option_that_the_readme_uses_exists() -> None:
    for line in LINES:
        found = re.match(rf"(?:NEXTCLICK_\w+=\S+ )*nextclick ((?:(?:{'|'.join(GROUPS)}) )?[a-z]+)(.*)", line)
        if not found:
            continue
        shown = help_of(*found[1].split())
        for option in re.findall(r"--[a-z-]+", found[2]):
            assert option in shown, line


def test_every_link_of_the_readme_to_a_file_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_commands_without_a_broker_run_as_the_readme_shows(tmp_path: Path) -> None:
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
