"""What a Prometheus answers to the queries of a board, asked as Grafana asks."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Protocol

from deploy.grafana.render.board import Board, Panel
from model.errors import NextclickError

# Points of a line, as of a panel of about this width in pixels.
POINTS = 600
ANSWER_S = 60
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class Line:
    """One series of an answer, with the name that the legend gives it."""

    name: str
    labels: Mapping[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Answers:
    """What is drawn: each panel's lines, and the moments at which a version began to serve."""

    begin_s: float
    end_s: float
    step_s: float
    lines: Mapping[str, list[Line]]
    marks: list[float]
    chosen: Mapping[str, str]


class Source(Protocol):
    """Where answers come from."""

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of the HTTP API."""


class Prometheus:
    """The HTTP API of a Prometheus, such as http://127.0.0.1:9090."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Raises NextclickError when there is none, with Prometheus' reason."""
        url = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        asked = parameters.get("query", path)
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise _no_answer(f"Prometheus refuses {asked!r}", error.read().decode(errors="replace")) from None
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise _no_answer(f"Prometheus at {self._address} does not answer {asked!r}", str(error)) from None


def seconds(span: str) -> float:
    """A span such as 90s, 15m, 6h or 7d. Raises NextclickError on another text.

    >>> seconds("15m")
    900.0
    """
    match = re.fullmatch(r"(\d+)([smhd])", span)
    if match is None or int(match[1]) == 0:
        raise NextclickError(
            f"{span!r} is no span of time", "The pictures have no begin.", "Say it as 90s, 15m, 6h or 7d."
        )
    return float(match[1]) * SECONDS[match[2]]


def gather(board: Board, source: Source, *, end_s: float, span_s: float, scrape_s: float) -> Answers:
    """Ask all queries of a board, over a span of time that ends at `end_s`."""
    step_s = max(scrape_s, math.ceil(span_s / POINTS))
    begin_s = end_s - span_s
    chosen = {}
    for name, (label, series) in board.variables.items():
        values = source.ask(
            f"label/{label}/values", **{"match[]": series, "start": str(begin_s), "end": str(end_s)}
        )
        chosen[name] = "(" + "|".join(map(_escaped, values)) + ")"
    # As Grafana defines $__rate_interval: four scrapes at least, so that a rate has two points.
    intervals = {
        "__rate_interval": f"{max(4 * scrape_s, step_s + scrape_s):g}s",
        "__interval": f"{step_s:g}s",
    }

    def lines(expression: str, legend: str, instant: bool) -> list[Line]:
        query = filled(expression, {**intervals, **chosen})
        if instant:
            found = source.ask("query", query=query, time=str(end_s))["result"]
            return [_line(one["metric"], legend, [one["value"]]) for one in found]
        found = source.ask("query_range", query=query, start=str(begin_s), end=str(end_s), step=str(step_s))[
            "result"
        ]
        return [_line(one["metric"], legend, one["values"]) for one in found]

    def of_panel(panel: Panel) -> list[Line]:
        return [
            line for asked in panel.targets for line in lines(asked.expression, asked.legend, asked.instant)
        ]

    marks = {line.values[-1] / 1000 for expression in board.marks for line in lines(expression, "", False)}
    return Answers(
        begin_s=begin_s,
        end_s=end_s,
        step_s=step_s,
        lines={panel.title: of_panel(panel) for panel in board.panels},
        marks=sorted(at for at in marks if begin_s <= at <= end_s),
        chosen=chosen,
    )


def filled(expression: str, variables: Mapping[str, str]) -> str:
    """A query with its variables. Raises NextclickError on one that is not known.

    >>> filled('rate(x{in=~"$in"}[$__rate_interval])', {"in": "(a)", "__rate_interval": "1m"})
    'rate(x{in=~"(a)"}[1m])'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise NextclickError(
                f"the variable ${match[1]} of {expression!r} is not known",
                "Its panel cannot be asked for.",
                "Define it in the dashboard, or in deploy/grafana/render/answers.py.",
            )
        return variables[match[1]]

    return re.sub(r"\$(\w+)", value, expression)


def _line(labels: dict[str, str], legend: str, points: list[tuple[float, str]]) -> Line:
    name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend)
    return Line(name, labels, [float(at) for at, _ in points], [float(value) for _, value in points])


def _escaped(value: str) -> str:
    # Once for the expression, once for the string of PromQL that it stands in.
    return re.sub(r"([\\^$*+?.()|{}\[\]])", r"\\\\\1", value)


def _no_answer(what: str, why: str) -> NextclickError:
    return NextclickError(
        what, f"No picture is made of it: {why.strip()[:300]}", "Mend the query or the address."
    )
