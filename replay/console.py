"""The terminal: results go to stdout (`out`), progress, notes and logs to stderr (`log`).

Ids and titles come from strangers, so control characters in any printed text are shown as escapes. A
table too wide for the terminal becomes plain lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, cast

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stream.logs import LogLines, escaped, start_logging, utc_text
from stream.settings import Settings

# Wider than any table, narrow enough for rich to count with.
UNBOUNDED = 100_000


class Terminal(Console):
    """A rich console that escapes control characters in texts; colours and progress bars still work."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with the texts escaped, and a table that would break its words as lines."""
        options = options or self.options
        if isinstance(renderable, Table) and not renderable.expand and not self._fits(renderable, options):
            renderable = plain_lines(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text, keep="\n"), segment.style)

    def _fits(self, table: Table, options: ConsoleOptions) -> bool:
        """Whether each column of a table has room for its longest word."""
        return Measurement.get(self, options.update_width(UNBOUNDED), table).minimum <= options.max_width


def plain_lines(table: Table) -> Group:
    """A table as lines `column: cell`, an empty line after each row of more than two cells."""
    lines: list[Text] = [] if table.title is None else [_as_text(table.title)]
    headers = [_as_text(column.header).plain for column in table.columns] if table.show_header else []
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        texts = [_as_text(cell) for cell in cells]
        if not table.show_header or len(texts) <= 2:
            lines.append(Text(": ").join(text for text in texts if text))
            continue
        for name, text in zip(headers, texts, strict=True):
            if text:
                lines.append(Text.assemble(f"{name}: ", text) if name else text)
        lines.append(Text(""))
    return Group(*lines)


def _as_text(cell: RenderableType) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text.from_markup(str(cell))


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
