"""What every command shows people: progress, moments in time, logs as they are read.

Results go to stdout (`out`), everything else to stderr (`log`). Ids and titles come from strangers: what
of them would steer a terminal is shown as an escape, whoever prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment

from stream.logs import LogLines, escaped, start_logging, utc_text
from stream.settings import Settings


class Terminal(Console):
    """A console whose texts steer nothing; colours and progress bars are rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed, their texts escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text, keep="\n"), segment.style)


log = Terminal(stderr=True, soft_wrap=True)
out = Terminal(soft_wrap=True)


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
    return "-" if time_ms is None else utc_text(time_ms)


def parse_moment(text: str | None) -> int | None:
    """UTC text (ISO) as epoch milliseconds. Raises typer.BadParameter on anything else."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2017-10-03 or 2017-10-03T12:00") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
