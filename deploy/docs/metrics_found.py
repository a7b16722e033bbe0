"""Finds every Prometheus series in the code: where prometheus_client's families are made.

A name, a help text or labels that come from a loop over constants, or from a local name, are worked
out; what cannot be worked out without running the worker raises, so that no series stays unlisted.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
    "HistogramMetricFamily": "histogram",
    "Summary": "summary",
    "SummaryMetricFamily": "summary",
    "InfoMetricFamily": "info",
}
Loop = ast.For | ast.comprehension


@dataclass(frozen=True)
class Series:
    """One family, as a scrape shows it: a counter ends in _total."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    module: str


def series(root: Path, packages: Sequence[str] = ("model", "stream", "replay")) -> list[Series]:
    """Every series that the packages under `root` make, in the order of modules and lines."""
    found: list[Series] = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            constructors = _constructors(tree)
            if constructors:
                module = path.relative_to(root).with_suffix("").as_posix()
                found += _of_module(tree, constructors, module)
    return found


def _constructors(tree: ast.Module) -> dict[str, str]:
    """The names under which the module knows constructors of prometheus_client, with their kinds."""
    return {
        alias.asname or alias.name: KINDS[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client")
        for alias in node.names
        if alias.name in KINDS
    }


def _of_module(tree: ast.Module, constructors: dict[str, str], module: str) -> Iterator[Series]:
    namespace = vars(importlib.import_module(module.replace("/", ".")))
    for call, loops, local in _calls(tree, [], {}):
        if not isinstance(call.func, ast.Name) or call.func.id not in constructors:
            continue
        kind = constructors[call.func.id]
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        third = call.args[2] if len(call.args) > 2 else ast.Tuple([], ast.Load())
        labels = given.get("labels") or given.get("labelnames") or third
        parts: list[ast.expr] = [call.args[0], call.args[1], labels]
        for name, help_text, label_names in _values(
            parts, loops, local, namespace, f"{module}.py:{call.lineno}"
        ):
            suffix = "_total" if kind == "counter" else ""
            yield Series(f"{name}{suffix}", kind, tuple(label_names), help_text, f"{module}.py")


def _calls(
    node: ast.AST, loops: list[Loop], local: dict[str, ast.expr]
) -> Iterator[tuple[ast.Call, list[Loop], dict[str, ast.expr]]]:
    """Each call, with the loops around it and the names that its function has set before."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        local = {}
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        local[node.targets[0].id] = node.value
    if isinstance(node, ast.For):
        loops = [*loops, node]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        loops = [*loops, *node.generators]
    if isinstance(node, ast.Call):
        yield node, loops, local
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, loops, local)


class _Inlined(ast.NodeTransformer):
    """Replaces names by the expressions that the function gave them."""

    def __init__(self, local: dict[str, ast.expr]) -> None:
        self._local = local

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._local.get(node.id, node)


def _values(
    parts: list[ast.expr],
    loops: list[Loop],
    local: dict[str, ast.expr],
    namespace: dict[str, object],
    place: str,
) -> list[tuple[str, str, Sequence[str]]]:
    """Name, help and labels, once for each turn of the loops that they depend on."""
    wanted = [_Inlined(local).visit(ast.parse(ast.unparse(part), mode="eval").body) for part in parts]
    made = ast.Tuple(wanted, ast.Load())
    turns: list[ast.comprehension] = []
    for loop in loops:
        names = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
        if names & {n.id for n in ast.walk(made) if isinstance(n, ast.Name)}:
            turns.append(ast.comprehension(target=loop.target, iter=loop.iter, ifs=[], is_async=0))
    one = ast.comprehension(ast.Name("_", ast.Store()), ast.Tuple([ast.Constant(0)], ast.Load()), [], 0)
    expression = ast.fix_missing_locations(ast.Expression(ast.ListComp(made, turns or [one])))
    try:
        values: list[tuple[str, str, Sequence[str]]] = eval(
            compile(expression, place, "eval"), dict(namespace)
        )
    except NameError as error:
        raise ValueError(f"{place}: name the series, its help and its labels by constants: {error}") from None
    return values
