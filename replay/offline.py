"""What the commands that learn from files share: their options, and files as sessions to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table

from model import train as training
from model.errors import NextclickError
from model.evaluate import Evaluation
from model.session_file import SessionFile
from model.sessions import SessionRule, Sessions, split_sessions
from model.vocabulary import Vocabulary
from replay import datasets
from replay.console import check_on_error, load_log, log, moment, out, parse_moment, progress_bar
from replay.order import in_event_time_order

# Gathered to sort at a time, where a log is read by way of the disk.
MAPPED_MEMORY_BYTES = 128 << 20

Files = Annotated[list[Path], typer.Argument(help="event files: .csv, .txt, .dat, also .xz .gz .bz2 .zip")]
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
OnError = Annotated[str, typer.Option(help="stop or skip, at a line that cannot be read")]
RegistryDir = Annotated[Path | None, typer.Option("--registry", help="folder of the model versions")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
GapS = Annotated[float | None, typer.Option(help="silence that ends a session; 0: sessions as logged")]


def check_items(items: str) -> bool:
    """Whether events of unknown items count: "known" or "all"."""
    if items not in ("known", "all"):
        raise typer.BadParameter(f"--items is known or all, not {items!r}")
    return items == "all"


def read_sessions(
    files: list[Path],
    test: list[Path] | None,
    rule: SessionRule,
    *,
    test_fraction: float,
    test_from: str | None,
    format: str | None,
    on_error: str,
    folder: Path | None = None,
    columns: Sequence[str] = (),
) -> tuple[Sessions, Sessions, Vocabulary]:
    """Training sessions, test sessions and the vocabulary of the first; read by way of `folder` if given.

    `columns` are the events' fields, beside the item, that the networks read. Raises NextclickError
    when a folder is given for a network that reads some.
    """
    if folder is not None and columns:
        raise NextclickError(
            f"the network reads {', '.join(columns)} too, and sessions on disk have items and times only",
            "A log larger than memory cannot be learned from by this network.",
            "Leave --memory-map away, or choose a network that reads items alone.",
        )
    if folder is None:
        frame = load_log(files, format, on_error)
        vocabulary = Vocabulary.from_frame(frame, columns)
        sessions = Sessions.from_frame(frame, vocabulary, rule)
    else:
        check_on_error(on_error)
        ordered = in_event_time_order(
            lambda: datasets.read(files, format=format, on_error=on_error),
            memory_bytes=MAPPED_MEMORY_BYTES,
            folder=folder,
        )
        sessions, vocabulary = SessionFile(folder).write(ordered, rule)
        log.print(f"{len(sessions.items):,} events in {len(sessions):,} sessions on disk", highlight=False)
    if test:
        frame = load_log(test, format, on_error)
        return sessions, Sessions.from_frame(frame, vocabulary, rule), vocabulary
    earlier, later, vocabulary = split_sessions(
        sessions, vocabulary, test_fraction=test_fraction, test_from_ms=parse_moment(test_from)
    )
    log.print(
        f"split by time at {moment(int(later.times_ms[later.offsets[0]]))}: {len(earlier.items):,} events to "
        f"train, {len(later.items):,} to evaluate, of them {int((later.items < 0).sum()):,} of unknown items",
        highlight=False,
    )
    return earlier, later, vocabulary


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
