"""The terminal: results go to stdout (`out`), progress, notes and logs to stderr (`log`).

Ids and titles come from strangers, so control characters in any printed text are shown as escapes.
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
    """A rich console that escapes control characters in texts; colours and progress bars still work."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with the texts escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text, keep="\n"), segment.style)


log = Terminal(stderr=True, soft_wrap=True)
out = Terminal(soft_wrap=True)


def start_logs(settings: Settings) -> None:
    """Log to stderr in the settings' format; as JSON, the notes of a command are log lines, too."""
    start_logging(settings)
    if settings.log_format == "json":
        log.file = cast(IO[str], LogLines())


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """Yields update(done, total, text): a bar on a terminal, else a plain line every two seconds."""
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
    """Epoch milliseconds as UTC text, "-" for None.

    >>> moment(0)
    '1970-01-01 00:00:00Z'
    """
    return "-" if time_ms is None else utc_text(time_ms)


def parse_moment(text: str | None) -> int | None:
    """ISO text, in UTC unless it names a zone, as epoch milliseconds. Raises typer.BadParameter otherwise.

    >>> parse_moment("1970-01-01T00:01")
    60000
    """
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2017-10-03 or 2017-10-03T12:00") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
