"""A dashboard's JSON as panels with places: 24 columns on a wall, one below the other on a phone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.grafana.render.units import check_unit
from model.errors import NextclickError

KINDS = {"stat", "timeseries", "table"}
# Grafana's grid: columns, height of a row and space between, in pixels; below PHONE all stand in one column.
COLUMNS, ROW, GAP, PHONE = 24, 30, 8, 769
HEADER = 52


@dataclass(frozen=True)
class Target:
    """One query of a panel."""

    expression: str
    legend: str
    instant: bool


@dataclass(frozen=True)
class Panel:
    """What is drawn in one box."""

    title: str
    kind: str
    place: tuple[int, int, int, int]
    targets: tuple[Target, ...]
    unit: str
    decimals: int | None
    least: float | None
    most: float | None
    steps: tuple[tuple[float | None, str], ...]
    no_value: str
    options: dict[str, Any]
    custom: dict[str, Any]
    # Columns of a table, in order.
    columns: tuple[str, ...]
    # Name of a line or a column → its own colour, or its width in pixels.
    colours: dict[str, str]
    widths: dict[str, float]

    def colour(self, value: float) -> str:
        """The colour of the highest step that a value reaches."""
        reached = [colour for at, colour in self.steps if at is None or value >= at]
        return reached[-1] if reached else "text"


@dataclass(frozen=True)
class Box:
    """Where a panel, or the title of a row, lies: pixels from the left and from the top."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    span: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    # Variable → (label, series it is of).
    variables: dict[str, tuple[str, str]]
    marks: tuple[str, ...]

    @property
    def panels(self) -> list[Panel]:
        """All panels, in the order in which they are read."""
        return [panel for _, panels in self.rows for panel in panels]

    def boxes(self, width: int) -> tuple[list[tuple[Panel | str, Box]], int]:
        """Each panel and each row's title with its box, and the height of all."""
        found: list[tuple[Panel | str, Box]] = []
        column = (width - GAP * (COLUMNS + 1)) / COLUMNS
        top = float(HEADER)
        for title, panels in self.rows:
            found.append((title, Box(GAP, top, width - 2 * GAP, ROW)))
            top += ROW + GAP
            first, bottom = min((panel.place[1] for panel in panels), default=0), top
            for panel in panels:
                x, y, w, h = panel.place
                height = h * (ROW + GAP) - GAP
                if width < PHONE:
                    box = Box(GAP, bottom, width - 2 * GAP, height)
                else:
                    left = GAP + x * (column + GAP)
                    box = Box(left, top + (y - first) * (ROW + GAP), w * (column + GAP) - GAP, height)
                bottom = max(bottom, box.top + box.height + GAP)
                found.append((panel, box))
            top = bottom
        return found, round(top)


def read_board(path: Path) -> Board:
    """The dashboard of a JSON file. Raises NextclickError on what cannot be drawn."""
    made = json.loads(path.read_text())
    rows: list[tuple[str, list[Panel]]] = []
    for panel in made["panels"]:
        if panel["type"] == "row":
            rows.append((panel["title"], []))
        else:
            if not rows:
                rows.append(("", []))
            rows[-1][1].append(_panel(path.name, panel))
    return Board(
        name=path.stem,
        title=made["title"],
        span=made["time"]["from"].removeprefix("now-"),
        rows=tuple((title, tuple(panels)) for title, panels in rows),
        variables={v["name"]: _label_of(path.name, v["query"]) for v in made["templating"]["list"]},
        marks=tuple(mark["expr"] for mark in made["annotations"]["list"] if mark["enable"]),
    )


def _panel(file: str, made: dict[str, Any]) -> Panel:
    where = f"{file}: {made['title']}"
    if made["type"] not in KINDS:
        raise _unknown(where, f"is a {made['type']}")
    field, place = made["fieldConfig"]["defaults"], made["gridPos"]
    unit = field.get("unit", "short")
    check_unit(unit, where)
    colours, widths = _overrides(where, made["fieldConfig"].get("overrides", []))
    columns: tuple[str, ...] = ()
    for change in made.get("transformations", []):
        if change["id"] != "filterFieldsByName":
            raise _unknown(where, f"is transformed by {change['id']}")
        columns = tuple(change["options"]["include"]["names"])
    return Panel(
        title=made["title"],
        kind=made["type"],
        place=(place["x"], place["y"], place["w"], place["h"]),
        targets=tuple(
            Target(asked["expr"], asked["legendFormat"], bool(asked.get("instant")))
            for asked in made["targets"]
        ),
        unit=unit,
        decimals=field.get("decimals"),
        least=field.get("min"),
        most=field.get("max"),
        steps=tuple((step["value"], step["color"]) for step in field.get("thresholds", {}).get("steps", [])),
        no_value=field.get("noValue", "No data"),
        options=made.get("options", {}),
        custom=field.get("custom", {}),
        columns=columns,
        colours=colours,
        widths=widths,
    )


def _overrides(where: str, made: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, float]]:
    colours: dict[str, str] = {}
    widths: dict[str, float] = {}
    for override in made:
        name = override["matcher"].get("options")
        if override["matcher"]["id"] != "byName":
            raise _unknown(where, f"has values of its own {override['matcher']['id']}")
        for of in override["properties"]:
            if of["id"] == "color" and of["value"]["mode"] == "fixed":
                colours[name] = of["value"]["fixedColor"]
            elif of["id"] == "custom.width":
                widths[name] = float(of["value"])
            else:
                raise _unknown(where, f"sets {of['id']} of {name}")
    return colours, widths


def _label_of(file: str, query: str) -> tuple[str, str]:
    head, _, rest = query.partition("(")
    series, _, label = rest.removesuffix(")").partition(", ")
    if head != "label_values" or not label:
        raise _unknown(file, f"has a variable of {query!r}")
    return label, series


def _unknown(where: str, what: str) -> NextclickError:
    return NextclickError(
        f"{where} {what}, which the renderer does not know",
        "It would be drawn otherwise than Grafana draws it.",
        "Draw it by what is known, or add it to deploy/grafana/render.",
    )
