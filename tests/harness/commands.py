"""Runs commands in the test's own process."""

from __future__ import annotations

import io
import json
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from typer.testing import CliRunner, Result

import nextclick


def run(*arguments: str | Path) -> Result:
    """The result of a command, an error of its own included."""
    return CliRunner().invoke(nextclick.app, [str(argument) for argument in arguments])


def run_json(*arguments: str | Path) -> dict[str, Any]:
    """What a command that succeeds prints with --json."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@dataclass(frozen=True)
class Ended:
    """How a whole command line ended: its exit code, and what it printed."""

    code: int
    out: str
    errors: str


def run_main(*arguments: str | Path, stdout: IO[bytes] | None = None, encoding: str = "utf-8") -> Ended:
    """Run `nextclick ARGUMENTS` as the shell does, its handling of errors included, in this process.

    `stdout` is where its standard output goes, by default what the result has. An exception that ends
    the process is its traceback in `errors` and code 1, as the interpreter's.
    """
    captured, errors = io.BytesIO(), io.BytesIO()
    out = io.TextIOWrapper(stdout or captured, encoding=encoding, write_through=False)
    told = io.TextIOWrapper(errors, encoding=encoding, errors="backslashreplace", write_through=True)
    code = 0
    argv = ["nextclick", *map(str, arguments)]
    with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(told):
        try:
            nextclick.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # noqa: BLE001 - the interpreter prints whatever it is
            code = 1
            traceback.print_exc()
        out.flush()
    ended_with = Ended(code, captured.getvalue().decode(encoding), errors.getvalue().decode(encoding))
    out.detach()
    return ended_with
