"""Draws lines over time: axes in the panel's unit, thresholds, marks of versions, and the legend."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from deploy.grafana.render.answers import Answers, Line
from deploy.grafana.render.board import Box, Panel
from deploy.grafana.render.canvas import COLOURS, LINES, Canvas
from deploy.grafana.render.units import scale, shown

ROW, AXIS = 19.0, 24.0
# The share of a panel that a legend may take before it scrolls.
LEGEND = 0.35
TICKS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip


def draw_lines(
    canvas: Canvas, panel: Panel, box: Box, lines: list[Line], answers: Answers
) -> tuple[list[str], list[str]]:
    """Draw the lines and their legend. Returns the lines' names and colours."""
    named = [
        (
            line,
            COLOURS[panel.colours[line.name]] if line.name in panel.colours else LINES[number % len(LINES)],
        )
        for number, line in enumerate(lines)
    ]
    room = max(2, int(LEGEND * box.height / ROW))
    # One row is the head; one says how many lines are left out, where there are some.
    ordered = _ordered(panel, named)
    rows = ordered if len(named) < room else ordered[: max(1, room - 2)]
    legend_height = ROW * (1 + len(rows) + (len(rows) < len(named)))
    plot = Box(box.left, box.top, box.width, box.height - legend_height - AXIS)
    top = _axis_end(panel, lines)
    bottom = (
        panel.least
        if panel.least is not None
        else min(0.0, *(_finite(line)[1].min(initial=0.0) for line in lines))
    )
    ticks = _ticks(panel, bottom, top)
    labels = _tick_labels(panel, ticks, top)
    margin = 8 + max(canvas.width_of(label, 11) for label in labels)
    axes = canvas.axes(Box(plot.left + margin, plot.top + 6, plot.width - margin - 4, plot.height - 6))
    axes.set_ylim(bottom, top)
    axes.set_yticks(ticks, labels)
    _time_axis(axes, answers, plot.width - margin)
    axes.grid(color=COLOURS["grid"], linewidth=1)
    axes.set_axisbelow(True)
    _plot(axes, panel, named, answers)
    _thresholds(axes, panel, top)
    for at in answers.marks:
        axes.axvline(at, color=COLOURS["purple"], linewidth=1, linestyle=(0, (4, 3)))
    _legend(
        canvas,
        panel,
        Box(box.left, box.top + box.height - legend_height, box.width, legend_height),
        rows,
        len(named),
    )
    return [line.name for line, _ in ordered], [colour for _, colour in ordered]


def _plot(axes: Axes, panel: Panel, named: list[tuple[Line, str]], answers: Answers) -> None:
    stacked = panel.custom.get("stacking", {}).get("mode") == "normal"
    grid = np.arange(answers.begin_s, answers.end_s + answers.step_s / 2, answers.step_s)
    below = np.zeros(len(grid))
    opacity = panel.custom.get("fillOpacity", 0) / 100
    for line, colour in named:
        times, values = _finite(line)
        # Values stand on the grid of steps; where one is missing the line breaks off.
        at = np.rint((times - answers.begin_s) / answers.step_s).astype(int)
        on_grid = np.full(len(grid), np.nan)
        inside = (at >= 0) & (at < len(grid))
        on_grid[at[inside]] = values[inside]
        upper = on_grid + below if stacked else on_grid
        axes.plot(grid, upper, color=colour, linewidth=panel.custom.get("lineWidth", 1) * 1.3)
        there = np.pad(np.isfinite(on_grid), 1)
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        axes.plot(grid[alone], upper[alone], color=colour, marker="o", markersize=4, linestyle="none")
        axes.fill_between(
            grid, upper, below if stacked else axes.get_ylim()[0], color=colour, alpha=opacity, linewidth=0
        )
        if stacked:
            below += np.nan_to_num(on_grid)


def _axis_end(panel: Panel, lines: list[Line]) -> float:
    if panel.most is not None:
        return panel.most
    if panel.custom.get("stacking", {}).get("mode") == "normal":
        sums: dict[float, float] = {}
        for line in lines:
            for at, value in zip(*_finite(line), strict=True):
                sums[float(at)] = sums.get(float(at), 0.0) + float(value)
        most = max(sums.values(), default=0.0)
    else:
        most = max((float(_finite(line)[1].max(initial=0.0)) for line in lines), default=0.0)
    return 1.08 * most if most > 0 else 1.0


def _ticks(panel: Panel, bottom: float, top: float) -> list[float]:
    """At round numbers of the unit that the axis' end is written in."""
    divisor, _ = scale(top, panel.unit)
    found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom / divisor, top / divisor)
    return [float(tick) * divisor for tick in found if bottom <= tick * divisor <= top * 1.0001]


def _tick_labels(panel: Panel, ticks: list[float], top: float) -> list[str]:
    """All in the unit of the axis' end, with the decimals that tell them apart."""
    divisor, suffix = scale(top, panel.unit)
    sizes = [tick / divisor for tick in ticks]
    decimals = next((n for n in range(4) if all(abs(round(size, n) - size) < 1e-6 for size in sizes)), 4)
    return [f"{size:.{decimals}f}{suffix}" for size in sizes]


def _ordered(panel: Panel, named: list[tuple[Line, str]]) -> list[tuple[Line, str]]:
    """The rows of the legend, by their last or their largest value where the panel says so."""
    by = panel.options.get("legend", {}).get("sortBy")
    if by is None:
        return named

    def key(row: tuple[Line, str]) -> float:
        values = [value for value in row[0].values if not math.isnan(value)]
        return -math.inf if not values else values[-1] if by == "Last *" else max(values)

    return sorted(named, key=key, reverse=bool(panel.options["legend"].get("sortDesc")))


def _time_axis(axes: Axes, answers: Answers, width: float) -> None:
    span = answers.end_s - answers.begin_s
    most = max(2.0, width / 75)
    every = next((tick for tick in TICKS_S if span / tick <= most), 86_400 * math.ceil(span / 86_400 / most))
    form = (
        "%m-%d"
        if every >= 86_400
        else "%m-%d %H:%M"
        if span > 86_400
        else "%H:%M"
        if every >= 60
        else "%H:%M:%S"
    )
    first = math.ceil(answers.begin_s / every) * every
    ticks = np.arange(first, answers.end_s, every)
    # A label half outside of the panel is none.
    edge = span * 20 / width
    ticks = ticks[(ticks > answers.begin_s + edge) & (ticks < answers.end_s - edge)]
    axes.set_xlim(answers.begin_s, answers.end_s)
    axes.set_xticks(ticks, [datetime.fromtimestamp(float(at), UTC).strftime(form) for at in ticks])


def _thresholds(axes: Axes, panel: Panel, top: float) -> None:
    if panel.custom.get("thresholdsStyle", {}).get("mode") != "dashed":
        return
    for at, colour in panel.steps:
        if at is not None and at <= top:
            axes.axhline(at, color=COLOURS[colour], linewidth=1.2, linestyle=(0, (8, 6)))


def _legend(canvas: Canvas, panel: Panel, box: Box, rows: list[tuple[Line, str]], count: int) -> None:
    """A table of names with the last value and the largest."""
    cell = min(90.0, 0.24 * box.width)
    last, most = box.left + box.width - 2 * cell, box.left + box.width - cell
    canvas.text("Name", box.left, box.top + ROW / 2, cell, size=10, colour="blue", bold=True)
    canvas.text("Last *", last, box.top + ROW / 2, cell, size=10, colour="blue", bold=True, align="right")
    canvas.text("Max", most, box.top + ROW / 2, cell, size=10, colour="blue", bold=True, align="right")
    for number, (line, colour) in enumerate(rows, start=1):
        middle = box.top + (number + 0.5) * ROW
        canvas.text("━", box.left, middle, 16, size=11, colour=colour, bold=True)
        canvas.text(line.name, box.left + 18, middle, last - box.left - 14, size=11)
        values = [value for value in line.values if not math.isnan(value)]
        for left, value in ((last, values[-1:]), (most, [max(values)] if values else [])):
            text = shown(value[0], panel.unit, panel.decimals) if value else ""
            canvas.text(text, left, middle, cell, size=11, align="right")
    if len(rows) < count:
        middle = box.top + (len(rows) + 1.5) * ROW
        canvas.text(
            f"{count - len(rows)} more, by scrolling",
            box.left + 18,
            middle,
            box.width - 18,
            size=11,
            colour="faint",
        )


def _finite(
    line: Line,
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    times, values = np.array(line.times), np.array(line.values)
    kept = np.isfinite(values)
    return times[kept], values[kept]
