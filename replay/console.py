"""What every command shows people: progress, moments in time, logs as they are read.

Results go to stdout (`out`), everything else to stderr (`log`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import pandas as pd
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from replay import datasets
from stream.logs import LogLines, start_logging
from stream.settings import Settings

log = Console(stderr=True, soft_wrap=True)
out = Console(soft_wrap=True)


def start_logs(settings: Settings) -> None:
    """Log to stderr in the settings' format; in JSON also what a command tells while it works."""
    start_logging(settings)
    if settings.log_format == "json":
        log.file = cast(IO[str], LogLines())


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """A bar on a terminal, else a plain line every two seconds: update(done, total, text)."""
    if log.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=log, transient=True) as bar:
            task = bar.add_task(title, text="")
            yield lambda done, total, text: bar.update(task, completed=done, total=total or None, text=text)
        return
    last_s = time.monotonic()

    def line(done: float, total: float, text: str) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= 2:
            last_s = time.monotonic()
            log.print(
                f"{title}: {done:,.0f}" + (f" of {total:,.0f}" if total else "") + f", {text}",
                highlight=False,
            )

    yield line


def moment(time_ms: float | None) -> str:
    """Epoch milliseconds as UTC text."""
    return "-" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def parse_moment(text: str | None) -> int | None:
    """UTC text (ISO) as epoch milliseconds. Raises typer.BadParameter on anything else."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2017-10-03 or 2017-10-03T12:00") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def check_on_error(on_error: str) -> str:
    """ "stop" or "skip"."""
    if on_error not in ("stop", "skip"):
        raise typer.BadParameter(f"--on-error is stop or skip, not {on_error!r}")
    return on_error


def load_log(
    files: Sequence[Path], form: str | None, on_error: str, wanted: datasets.EventFilter | None = None
) -> pd.DataFrame:
    """The files' events that are `wanted`; what was left out is told on stderr."""
    rejects: Counter[str] = Counter()
    frame = datasets.load(
        files, format=form, on_error=check_on_error(on_error), wanted=wanted, rejects=rejects
    )
    times = frame["event_time_ms"]
    log.print(
        f"{len(frame):,} events, {moment(times.iloc[0])} to {moment(times.iloc[-1])}"
        + "".join(f"; left out {count:,}: {reason}" for reason, count in rejects.items()),
        highlight=False,
    )
    return frame
