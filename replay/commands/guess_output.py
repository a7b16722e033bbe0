"""What `nextclick data guess` shows: the evidence, the first events, the file of the mapping.

Tested by tests/cases/test_data_guess.py.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from rich.markup import escape
from rich.table import Table

from model.errors import NextclickError
from replay.console import log, moment, out
from replay.datasets.event_files import EventFiles
from replay.mappings.guess import Doubt, Guess
from stream.log_mapping import LogMapping

EVENTS = 5
# Questions to a person before the guess is given up.
MOST_QUESTIONS = 8


@dataclass(frozen=True)
class FirstEvents:
    """The first events of a log, out of how many rows, and what was left out of these."""

    events: pd.DataFrame
    rows: int
    left_out: dict[str, int]

    def as_dicts(self) -> list[dict[str, Any]]:
        """The events as plain values."""
        rows: list[dict[str, Any]] = self.events.astype(object).to_dict("records")
        return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def first_events(path: Path, mapping: LogMapping | None) -> FirstEvents:
    """The first events of a file. Raises NextclickError when its beginning has none."""
    rejects: Counter[str] = Counter()
    kept: list[pd.DataFrame] = []
    rows = 0
    reader = EventFiles([path], columns=mapping, on_error="skip").open()
    for frame in reader.read(rejects):
        rows += len(frame)
        kept.append(frame)
        if rows >= EVENTS:
            break
    if not rows:
        raise reader.no_events(rejects)
    return FirstEvents(pd.concat(kept).head(EVENTS), rows + sum(rejects.values()), dict(rejects))


def ask(name: str, guess_by: Callable[[str], Guess], said: str, command: str) -> tuple[Guess, str]:
    """A guess without a doubt, and what was said for it: a person at a terminal is asked.

    `guess_by` guesses the log of a `name` by what was said. Raises NextclickError, which names the
    candidates and how to say one in the `command`, where nobody can be asked.
    """
    guess = guess_by(said)
    asked = 0
    while guess.doubts:
        if not (sys.stdin.isatty() and sys.stderr.isatty()) or asked >= MOST_QUESTIONS:
            show_evidence(guess)
            raise _in_doubt(name, guess, said, command)
        doubt = guess.doubts[0]
        answers = "; ".join(doubt.answers)
        log.print(f"{escape(doubt.why)}: {escape(answers)}", highlight=False)
        text = typer.prompt("say it", default=doubt.answers[0] if doubt.answers else None, err=True)
        asked += 1
        try:
            guess = guess_by(f"{said},{text}" if said else text)
        except NextclickError as error:
            log.print(f"{escape(error.what)}. {escape(error.meaning)}", highlight=False)
            continue
        said = f"{said},{text}" if said else text
    return guess, said


def _in_doubt(name: str, guess: Guess, said: str, command: str) -> NextclickError:
    doubts = guess.doubts
    whys = "; ".join(doubt.why for doubt in doubts)
    candidates = ". ".join(f"{doubt.role}: {' or '.join(doubt.answers)}" for doubt in doubts if doubt.answers)
    example = ",".join(filter(None, [said, *_first_answers(doubts)]))
    return NextclickError(
        f"{name}: {whys}",
        f"A wrong guess would train a model of nonsense, so nothing was written. {candidates}.",
        f"Say which it is, and it is guessed on: {command} --columns {shlex.quote(example)}",
    )


def _first_answers(doubts: list[Doubt]) -> list[str]:
    # A column has one role: the session first, which stands together.
    taken: set[str] = set()
    answers = []
    for doubt in sorted(doubts, key=lambda one: one.role != "session"):
        free = [one for one in doubt.answers if one.partition(",")[0].partition("=")[2] not in taken]
        if free:
            answers.append(free[0])
            taken.add(free[0].partition(",")[0].partition("=")[2])
    return answers


def show_evidence(guess: Guess) -> None:
    """Print what was found for each role, and why."""
    for role, evidence in guess.evidence.items():
        out.print(f"{role}: {evidence}", markup=False, highlight=False)
    for note in guess.notes:
        out.print(f"note: {note}", markup=False, highlight=False)


def show_events(found: FirstEvents) -> None:
    """Print the first events, and what was left out beside them."""
    events = found.events.drop(columns=[c for c in found.events.columns if found.events[c].isna().all()])
    table = Table(*[name.removesuffix("_ms") for name in events.columns])
    for row in events.itertuples(index=False):
        cells = dict(zip(events.columns, row, strict=True))
        cells["event_time_ms"] = moment(cells["event_time_ms"])
        table.add_row(*[escape("" if pd.isna(value) else str(value)) for value in cells.values()])
    out.print(table)
    left = "; ".join(f"{count:,}: {reason}" for reason, count in found.left_out.items())
    out.print(
        f"left out of the first {found.rows:,} rows: {left or 'nothing'}", markup=False, highlight=False
    )
