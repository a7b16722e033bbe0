"""Draws one panel: a number, a table or lines over time, with its colours, its unit and its empty state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy.grafana.render.answers import Answers, Line
from deploy.grafana.render.board import Box, Panel
from deploy.grafana.render.canvas import COLOURS, Canvas
from deploy.grafana.render.lines import draw_lines
from deploy.grafana.render.units import shown

TITLE, INSET, CELL = 34.0, 10.0, 26.0
# The least width of a column.
COLUMN = 150.0


@dataclass(frozen=True)
class Drawn:
    """What a person sees of a panel."""

    panel: str
    # What is written large, or the names of the lines; the panel's reason where there is nothing.
    texts: tuple[str, ...]
    colours: tuple[str, ...]
    empty: bool
    cut: tuple[str, ...]


def draw(canvas: Canvas, panel: Panel, box: Box, answers: Answers) -> Drawn:
    """Draw a panel with its title into a box."""
    already = len(canvas.cuts)
    canvas.box(box)
    width = box.width - 2 * INSET
    canvas.text(panel.title, box.left + INSET, box.top + TITLE / 2, width, size=13, bold=True)
    inner = Box(box.left + INSET, box.top + TITLE, width, box.height - TITLE - INSET / 2)
    lines = [line for line in answers.lines[panel.title] if line.values]
    texts: list[str]
    colours: list[str] = []
    if not lines:
        canvas.paragraph(panel.no_value, inner)
        texts = [panel.no_value]
    elif panel.kind == "stat":
        texts, colours = _numbers(canvas, panel, inner, lines, answers)
    elif panel.kind == "table":
        texts = _table(canvas, panel, inner, lines)
    else:
        texts, colours = draw_lines(canvas, panel, inner, lines, answers)
    return Drawn(panel.title, tuple(texts), tuple(colours), not lines, tuple(canvas.cuts[already:]))


def _numbers(
    canvas: Canvas, panel: Panel, box: Box, lines: list[Line], answers: Answers
) -> tuple[list[str], list[str]]:
    """Each series' newest value, or its name, as large as the box lets it."""
    mode = panel.options.get("textMode", "auto")
    names_only = mode == "name"
    named = names_only or mode == "value_and_name" or len(lines) > 1
    coloured = panel.options.get("colorMode", "value") != "none"
    wide = box.width >= box.height
    texts, colours = [], []
    for number, line in enumerate(lines):
        share = (box.width if wide else box.height) / len(lines)
        part = (
            Box(box.left + number * share, box.top, share, box.height)
            if wide
            else Box(box.left, box.top + number * share, box.width, share)
        )
        text = line.name if names_only else shown(line.values[-1], panel.unit, panel.decimals)
        colour = panel.colour(line.values[-1]) if coloured else "text"
        if panel.options.get("graphMode") == "area" and len(line.values) > 1:
            _spark(canvas, part, line, answers, colour)
        size = min(0.5 * part.height, 42.0)
        while size > 12 and canvas.width_of(text, size, bold=True) > part.width - 4:
            size -= 1
        middle = part.top + 0.42 * part.height
        canvas.text(text, part.left, middle, part.width, size=size, colour=colour, bold=True, align="center")
        if named and not names_only:
            canvas.text(line.name, part.left, part.top + 8, part.width, align="center")
        texts.append(text)
        colours.append(colour)
    return texts, colours


def _spark(canvas: Canvas, box: Box, line: Line, answers: Answers, colour: str) -> None:
    axes = canvas.axes(Box(box.left, box.top + 0.62 * box.height, box.width, 0.38 * box.height))
    finite = [(at, value) for at, value in zip(line.times, line.values, strict=True) if math.isfinite(value)]
    times, values = [at for at, _ in finite], [value for _, value in finite]
    least, most = min(values, default=0.0), max(values, default=1.0)
    ink = COLOURS.get(colour, colour)
    axes.fill_between(times, values, least, color=ink, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=ink, linewidth=1)
    axes.set_xlim(answers.begin_s, answers.end_s)
    # A line that is level has a height of its own, whatever its value.
    space = max(0.05 * (most - least), 1e-3 * max(abs(least), abs(most)), 1e-9)
    axes.set_ylim(least - space, most + space)
    axes.set_axis_off()


def _columns(panel: Panel, box: Box) -> list[tuple[str, float, float]]:
    """Name, left and width of each column that is in sight; narrow boxes are scrolled to the others."""
    free = [name for name in panel.columns if name not in panel.widths]
    rest = box.width - sum(panel.widths.values())
    share = max(COLUMN, rest / max(1, len(free)))
    found, left = [], box.left
    for name in panel.columns:
        width = panel.widths.get(name, share)
        if left + min(width, COLUMN / 2) > box.left + box.width:
            break
        found.append((name, left, min(width, box.left + box.width - left)))
        left += width
    return found


def _table(canvas: Canvas, panel: Panel, box: Box, lines: list[Line]) -> list[str]:
    """A row for each series, a column for each label that is kept; what does not fit is counted."""
    columns = _columns(panel, box)
    for name, left, width in columns:
        canvas.text(name, left, box.top + CELL / 2, width - 6, size=11, colour="blue", bold=True)
    for order in reversed(panel.options.get("sortBy", [])):
        name = order["displayName"]
        lines = sorted(lines, key=lambda line: line.labels.get(name, ""), reverse=bool(order.get("desc")))
    fit = max(1, int(box.height / CELL) - 1)
    rows = lines if len(lines) <= fit else lines[: fit - 1]
    texts = []
    for row, line in enumerate(rows, start=1):
        cells = [line.labels.get(name, "") for name, _, _ in columns]
        for cell, (_, left, width) in zip(cells, columns, strict=True):
            canvas.text(cell, left, box.top + (row + 0.5) * CELL, width - 6)
        texts.append(" ".join(cells))
    if len(rows) < len(lines):
        more = f"{len(lines) - len(rows)} more, by scrolling"
        canvas.text(more, box.left, box.top + (len(rows) + 1.5) * CELL, box.width, colour="faint")
    return texts
