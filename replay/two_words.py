"""Commands that are also called by two words: `replay verify` is `verify`, not a file of that name."""

from __future__ import annotations

from typing import Any

import typer.core

SPELLINGS = {"replay verify": "verify"}


class TwoWords(typer.core.TyperGroup):
    """A group of commands that knows the other spellings. A file `verify` is replayed as `./verify`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments begin with, and the arguments behind it."""
        name = SPELLINGS.get(" ".join(args[:2]))
        return super().resolve_command(ctx, args if name is None else [name, *args[2:]])
