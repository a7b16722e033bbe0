"""The models of a study trained and ranked on a log, table by table.

Tested by tests/learning/test_reproduce.py.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from model.comparison.compare import Comparison, compare
from model.config import ModelConfig
from model.data.splits import LogSplit
from model.device import CPU
from model.errors import NextclickError
from model.networks.by_name import columns_of
from model.training.run_options import Progress
from replay.studies.study import NOTHING, Data, Row, Study, Table


@dataclass(frozen=True)
class LogFacts:
    """The log of a run: its files, its wanted events, and the published data that it is, if it is."""

    names: list[str]
    events: int
    is_published: Data | None


@dataclass(frozen=True)
class TableResult:
    """A table and what was measured; `left_out` says of a row why there is no figure of ours."""

    table: Table
    comparison: Comparison | None
    left_out: dict[str, str]


@dataclass
class Reproduced:
    """A study on a log: its tables, and the time and memory that they took."""

    study: Study
    log: LogFacts
    settings: Mapping[str, Any]
    tables: list[TableResult] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: float = 0.0


def configs_of(
    table: Table,
    always: Mapping[str, Any],
    only: Collection[str] = (),
    at_hand: Mapping[str, Any] = NOTHING,
) -> dict[str, ModelConfig]:
    """The configurations of a table's rows by name; `only` chooses rows, empty chooses all."""
    found = {row.name: row.config(always, at_hand) for row in table.rows if not only or row.name in only}
    return {name: config for name, config in found.items() if config is not None}


def chosen_rows(study: Study, only: Collection[str]) -> None:
    """Raises NextclickError when a chosen row is in no table."""
    known = [row.name for table in study.table for row in table.rows]
    missing = [name for name in only if name not in known]
    if missing:
        raise NextclickError(
            f"the study has no row {', '.join(map(repr, missing))}",
            f"It has: {', '.join(dict.fromkeys(known))}.",
            "Choose among them with --only.",
        )


def run_study(
    study: Study,
    split: LogSplit,
    log: LogFacts,
    settings: Mapping[str, Any],
    *,
    only: Collection[str] = (),
    at_hand: Mapping[str, Any] = NOTHING,
    device: torch.device = CPU,
    progress: Callable[[str, Progress | None], None] = lambda name, training: None,
) -> Reproduced:
    """Train and rank the rows of each table on the log's parts."""
    started = time.perf_counter()
    result = Reproduced(study, log, {**at_hand, **settings})
    for table in study.table:
        configs = configs_of(table, settings, only, at_hand)
        left_out = {row.name: row.why for row in table.rows if row.config({}) is None}
        for row in table.rows:
            lacking = _lacking(row, split)
            if row.name in configs and lacking:
                left_out[row.name] = lacking
                del configs[row.name]
        parts = split
        if table.boosted_test_s is not None:
            parts = split._replace(test=split.test.boosted(table.boosted_test_s))
        compared = None
        if configs:
            compared = compare(configs, parts, split=study.split.choice, device=device, progress=progress)
        result.tables.append(TableResult(table, compared, left_out))
    result.seconds = time.perf_counter() - started
    result.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def columns_needed(study: Study, settings: Mapping[str, Any], only: Collection[str]) -> tuple[str, ...]:
    """The event columns that the chosen rows read."""
    return columns_of(*(c for table in study.table for c in configs_of(table, settings, only).values()))


def _lacking(row: Row, split: LogSplit) -> str:
    if row.needs == "titles" and not any(split.vocabulary.titles.values()):
        return "the log has no titles"
    if row.needs == "users" and not split.vocabulary.features.size("user_id"):
        return "the log has no users"
    return ""
