import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

import nextclick
from nextclick import COMMANDS
from replay import commands
from replay.commands.lazy_commands import LazyCommands

# Modules of the room that several commands share.
SHARED = {
    "__init__",
    "catalogue_file",
    "ruled_list",
    "stopping",
    "lazy_commands",
    "named_log",
    "log_files",
    "up_choices",
    "options",
    "outputs",
    "read_split",
    "titles_file",
    "guess_output",
    "training_output",
}
# What trains, ranks or loads a version needs torch from the start; every other command must not.
NEED_TORCH = {
    "demo", "up", "worker", "train", "evaluate", "recommend", "compare", "tune", "reproduce", "cadence",
    "retrain", "certify", "doctor",
}  # fmt: skip


def test_every_command_is_a_file_of_its_name_and_every_other_file_is_shared() -> None:
    files = {path.stem for path in Path(commands.__path__[0]).glob("*.py")}
    assert files == set(COMMANDS) | SHARED


def test_every_command_is_the_function_or_the_group_of_its_name() -> None:
    for name, command in LazyCommands(COMMANDS).items():
        assert command.name == name
        assert hasattr(command, "commands") or command.epilog == f"Example: {COMMANDS[name].example}"


def test_the_version_is_that_of_the_project() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "nextclick", "--version"], capture_output=True, text=True, check=True
    )
    project = tomllib.loads((Path(commands.__path__[0]).parents[1] / "pyproject.toml").read_text())
    assert said.stdout == f"nextclick {project['project']['version']}\n"


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    for name, command in LazyCommands(COMMANDS).items():
        assert COMMANDS[name].summary == " ".join(command.help.split("\n\n")[0].split()), name


def test_commands_without_a_model_start_without_torch() -> None:
    light = [name for name in COMMANDS if name not in NEED_TORCH]
    program = (
        "import sys; import nextclick; from replay.commands.lazy_commands import LazyCommands\n"
        "commands = LazyCommands(nextclick.COMMANDS)\n"
        f"for name in {light!r}:\n"
        "    commands[name]\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_list_of_commands_imports_none_of_them(arguments: list[str]) -> None:
    assert loaded_by(arguments) == []


def test_a_shell_completes_names_without_importing_commands() -> None:
    completion = {"_NEXTCLICK_COMPLETE": "complete_bash", "COMP_WORDS": "nextclick re", "COMP_CWORD": "1"}
    assert loaded_by([], **completion) == []


def test_a_command_is_itself_again_after_the_list_was_shown() -> None:
    app: Any = typer.main.get_command(nextclick.app)
    with app.make_context("nextclick", [], resilient_parsing=True) as context:
        app.get_help(context)
        assert "create" in app.get_command(context, "topics").commands


def loaded_by(arguments: list[str], **environment: str) -> list[str]:
    """The commands, and torch, that one start of the command line imports."""
    program = (
        "import atexit, sys, nextclick\n"
        "heavy = ['torch', *(f'replay.commands.{name}' for name in nextclick.COMMANDS)]\n"
        "loaded = lambda: ' '.join(name for name in heavy if name in sys.modules)\n"
        "atexit.register(lambda: print(loaded(), end='', file=sys.stderr))\n"
        "sys.argv[0] = 'nextclick'\n"
        "nextclick.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert ended.stdout, ended.stderr
    return ended.stderr.split()
