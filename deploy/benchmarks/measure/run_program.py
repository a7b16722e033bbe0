"""The end of a program that is run by hand: its exit code, or its error in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from model.errors import NextclickError


def run_program(main: Callable[[], int]) -> NoReturn:
    """End the process with what `main` returns, or with 2 after the words of its error."""
    try:
        sys.exit(main())
    except NextclickError as error:
        print(f"error: {error.what}\n{error.meaning}\ndo: {error.remedy}", file=sys.stderr)
        sys.exit(2)
