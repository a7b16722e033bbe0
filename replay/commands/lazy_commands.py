"""Commands that are imported when they are asked for: a replay has no use for torch, nor memory for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main

# `replay verify` is `verify`, not a file of that name; a file `verify` is replayed as `./verify`.
SPELLINGS = {"replay verify": "verify"}


class Entry(NamedTuple):
    """Where a command is: a function or a group of commands, as `module:name`; and an example."""

    place: str
    example: str


class LazyCommands(Mapping[str, Any]):
    """Commands by name, each made by its first use."""

    def __init__(self, table: Mapping[str, Entry], rest: Mapping[str, Any]) -> None:
        self._table = table
        self._made = dict(rest)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, self._table[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._table, *self._made)))

    def __len__(self) -> int:
        return len({*self._table, *self._made})


def _make(name: str, entry: Entry) -> Any:
    module, _, attribute = entry.place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    single.command(name, epilog=f"Example: {entry.example}")(found)
    return typer.main.get_command(single)


def commands_of(table: Mapping[str, Entry]) -> type[typer.core.TyperGroup]:
    """The group whose commands are the table's, beside those that are registered with it."""

    class Commands(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands: Any = LazyCommands(table, self.commands)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name = SPELLINGS.get(" ".join(args[:2]))
            return super().resolve_command(ctx, args if name is None else [name, *args[2:]])

    return Commands
