"""What the commands that learn from files share: samples, progress, a table of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.table import Column, Table

from model.data.sessions import Sessions
from model.evaluation.rank_targets import Evaluation
from model.training import train as training
from replay.console import out, progress_bar


def sample(sessions: Sessions, targets: int) -> Sessions:
    """Every n-th session, so that they have about `targets` next events."""
    step = max(1, sessions.pairs // targets)
    return sessions.select(np.arange(0, len(sessions), step))


@contextmanager
def training_bar(title: str, quiet: bool = False) -> Iterator[Any]:
    """A progress bar for `training.train`."""
    with progress_bar(title) as bar:

        def report(p: training.Progress) -> None:
            done = (p.epoch - 1) * p.total + p.events
            bar(done, p.epochs * p.total, f"epoch {p.epoch}/{p.epochs} loss {p.loss:.3f}")

        yield (lambda p: None) if quiet else report


def show(rows: dict[str, Evaluation]) -> None:
    """A table of evaluations; accuracy is Recall@1, loss the cross-entropy over all items."""
    table = Table(
        Column("", no_wrap=True), "Recall@20", "MRR@20", "accuracy", "loss", "next events", "sessions"
    )
    for name, scored in rows.items():
        table.add_row(
            name,
            f"{scored.recall:.4f}",
            f"{scored.mrr:.4f}",
            f"{scored.accuracy:.4f}",
            "–" if scored.loss is None else f"{scored.loss:.3f}",
            f"{scored.targets:,}",
            f"{scored.sessions:,}",
        )
    out.print(table)
