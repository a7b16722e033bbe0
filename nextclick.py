"""The command line of nextclick: composes model, stream and replay."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from model.errors import NextclickError

app = typer.Typer(
    name="nextclick",
    help="Fresh top-20 recommendations after every event, from a recurrent network that steps once per event.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
log = Console(stderr=True)


def main() -> None:
    """Run the command line; a NextclickError is printed in three parts and exits with 2."""
    try:
        app()
    except NextclickError as error:
        log.print(f"[bold red]error:[/] {error.what}", highlight=False)
        log.print(f"{error.meaning}\n[bold]do:[/] {error.remedy}", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
