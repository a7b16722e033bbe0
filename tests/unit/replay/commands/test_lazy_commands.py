import subprocess
import sys
import tomllib
from pathlib import Path

from nextclick import EXAMPLES
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
LIGHT_COMMANDS = ("replay", "topics", "archive", "dlq", "bench")


def test_every_command_is_a_file_of_its_name_and_every_other_file_is_shared() -> None:
    files = {path.stem for path in Path(commands.__path__[0]).glob("*.py")}
    assert files == set(EXAMPLES) | SHARED


def test_every_command_is_the_function_or_the_group_of_its_name() -> None:
    for name, command in LazyCommands(EXAMPLES).items():
        assert command.name == name
        assert hasattr(command, "commands") or command.epilog == f"Example: {EXAMPLES[name]}"


def test_the_version_is_that_of_the_project() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "nextclick", "--version"], capture_output=True, text=True, check=True
    )
    project = tomllib.loads((Path(commands.__path__[0]).parents[1] / "pyproject.toml").read_text())
    assert said.stdout == f"nextclick {project['project']['version']}\n"


def test_commands_without_a_model_start_without_torch() -> None:
    program = (
        "import sys; import nextclick; from replay.commands.lazy_commands import LazyCommands\n"
        f"loaded = [LazyCommands(nextclick.EXAMPLES)[name] for name in {LIGHT_COMMANDS!r}]\n"
        "assert len(loaded) == 5 and 'torch' not in sys.modules, 'torch'\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
