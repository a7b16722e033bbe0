"""What the commands that learn from files share: their options, and files as sessions to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table

from model import train as training
from model.evaluate import Evaluation
from model.sessions import Sessions
from replay import datasets
from replay.console import out, progress_bar

# Gathered to sort at a time, where a log is read by way of the disk.
MAPPED_MEMORY_BYTES = 128 << 20
FILTERED_KINDS = ("view", "cart", "purchase")

Files = Annotated[
    list[Path],
    typer.Argument(
        help="event files, also .xz .gz .bz2 .zip, and files of metadata (movies.dat, meta_Beauty.json.gz), "
        "which are known by their content, held in memory and joined"
    ),
]
Test = Annotated[list[Path] | None, typer.Option(help="evaluate on these files, train on all of FILES")]
TestFraction = Annotated[
    float, typer.Option(min=0.001, max=0.9, help="newest share of events kept for the evaluation")
]
TestFrom = Annotated[str | None, typer.Option(help="evaluate from this UTC time on, instead")]
Items = Annotated[
    str, typer.Option(help="known: leave out test events of items unseen in training; all: they are misses")
]
SetOptions = Annotated[
    list[str] | None, typer.Option("--set", help="any setting of the model, name=value; may be repeated")
]
Params = Annotated[Path | None, typer.Option(help="TOML file of model settings, see deploy/params")]
Format = Annotated[str | None, typer.Option(help=f"one of {', '.join(datasets.FORMATS)}; else by content")]
Kind = Annotated[
    list[str] | None, typer.Option(help="only events of this kind: view, cart or purchase; may be repeated")
]
Category = Annotated[
    list[str] | None,
    typer.Option(help="only items of this category and its subcategories, such as electronics; repeatable"),
]
OnError = Annotated[str, typer.Option(help="stop or skip, at a line that cannot be read")]
Brokers = Annotated[str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port")]
RegistryDir = Annotated[Path | None, typer.Option("--registry", help="folder of the model versions")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
GapS = Annotated[
    float | None,
    typer.Option(
        help="silence that ends a session; 0: sessions as logged, which are whole users in amazon, "
        "movielens and lastfm-1k"
    ),
]


def check_items(items: str) -> bool:
    """Whether events of unknown items count: "known" or "all"."""
    if items not in ("known", "all"):
        raise typer.BadParameter(f"--items is known or all, not {items!r}")
    return items == "all"


def event_filter(kind: list[str] | None, category: list[str] | None) -> datasets.EventFilter:
    """The events that --kind and --category name."""
    for one in kind or []:
        if one not in FILTERED_KINDS:
            raise typer.BadParameter(f"--kind is one of {', '.join(FILTERED_KINDS)}, not {one!r}")
    if not all(one.strip() for one in category or []):
        raise typer.BadParameter("--category names nothing")
    return datasets.EventFilter(tuple(kind or ()), tuple(one.strip() for one in category or ()))


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
