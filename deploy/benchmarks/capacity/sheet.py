"""A sheet of named lines, each with its value, its formula and the figures it rests on.

Knows the file of measured figures, not what is calculated. A line can rest only on figures and on lines
before it, and is marked as assumed when any of them is.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import NextclickError


@dataclass(frozen=True)
class Target:
    """What is asked for."""

    events_per_s: float
    items: int
    session_gap_s: float
    catch_up_s: float
    spread: int
    racks: int
    replication: int
    events_retention_days: float
    lists_retention_days: float


@dataclass(frozen=True)
class Line:
    """One derived quantity; `assumed` says whether any that it rests on is an assumption."""

    group: str
    name: str
    value: float
    unit: str
    formula: str
    rests_on: tuple[str, ...]
    assumed: bool


def read_figures(path: Path, items: int) -> dict[str, Any]:
    """Figures by dotted name; of the workers the one with the next larger vocabulary."""
    with path.open("rb") as file:
        content = tomllib.load(file)
    workers = sorted(content.pop("worker"), key=lambda entry: entry["items"])
    fitting = [entry for entry in workers if entry["items"] >= items]
    if not fitting:
        raise NextclickError(
            f"{path} has no worker with {items:,} items or more; the largest has {workers[-1]['items']:,}",
            "What an event costs there is not measured, and scoring grows with the vocabulary.",
            "Measure one with `nextclick bench stream`, add it, or name fewer --items.",
        )
    return {
        f"{table}.{name}": value
        for table, entries in {**content, "worker": fitting[0]}.items()
        for name, value in entries.items()
    }


class Sheet:
    """Figures and lines by `[name]`; `warnings` are bounds that are not kept."""

    def __init__(self, figures: dict[str, Any]) -> None:
        self.lines: list[Line] = []
        self.warnings: list[str] = []
        self.group = ""
        self._values = dict(figures)
        self._assumed = {name for name in figures if name.startswith("assumed.")}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def add(self, text: str, value: float) -> None:
        """Add a line; `text` is name | unit | formula | what it rests on, by commas."""
        name, unit, formula, sources = (part.strip() for part in text.split("|"))
        rests_on = tuple(source.strip() for source in sources.split(",") if source.strip())
        unknown = [source for source in rests_on if source not in self._values]
        assert not unknown, f"{name} rests on {unknown}"
        assumed = any(source in self._assumed for source in rests_on)
        self.lines.append(Line(self.group, name, value, unit, formula, rests_on, assumed))
        self._values[name] = value
        if assumed:
            self._assumed.add(name)
