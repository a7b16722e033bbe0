"""Commands imported on first use: `nextclick replay` starts without torch.

`nextclick --help` imports every command, since it prints their summaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main


class LazyCommands(Mapping[str, Any]):
    """Commands by name; the first look-up of a name imports its module."""

    def __init__(self, examples: Mapping[str, str]) -> None:
        self._examples = examples
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load_command(name, self._examples[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._examples)

    def __len__(self) -> int:
        return len(self._examples)


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


def lazy_group(examples: Mapping[str, str]) -> type[typer.core.TyperGroup]:
    """A group class whose commands are the names of `examples`, in that order."""

    class LazyGroup(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands: Any = LazyCommands(examples)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

    return LazyGroup
