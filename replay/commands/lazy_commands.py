"""Commands imported on first use: `nextclick replay` starts without torch, `nextclick --help` without any.

`nextclick --help` and the completion of a shell list names with their summaries, which no import has to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main


class Listed(NamedTuple):
    """What is known of a command before it is imported: the first line of its help, and an example."""

    summary: str
    example: str


class LazyCommands(Mapping[str, Any]):
    """Commands by name; the first look-up of a name imports its module."""

    def __init__(self, listed: Mapping[str, Listed]) -> None:
        self._listed = listed
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load_command(name, self._listed[name].example)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def load_command(name: str, example: str) -> Any:
    """The function `name` of replay/commands/NAME.py, or the group of that name, as a click command.

    >>> load_command("settings", "nextclick settings").epilog
    'Example: nextclick settings'
    """
    found = getattr(import_module(f"replay.commands.{name}"), name)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    single.command(name, epilog=f"Example: {example}")(found)
    return typer.main.get_command(single)


def lazy_group(listed: Mapping[str, Listed]) -> type[typer.core.TyperGroup]:
    """A group class whose commands are the names of `listed`, in that order."""

    class LazyGroup(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands: Any = LazyCommands(listed)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            with self._summaries():
                super().format_help(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
            with self._summaries():
                return super().shell_complete(ctx, incomplete)

        @contextmanager
        def _summaries(self) -> Iterator[None]:
            """Stand-ins that can be listed, and not run, for the commands."""
            commands = self.commands
            self.commands = {
                name: typer.core.TyperCommand(name, help=one.summary) for name, one in listed.items()
            }
            try:
                yield
            finally:
                self.commands = commands

    return LazyGroup
