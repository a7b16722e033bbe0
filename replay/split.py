"""A log in two parts for the commands that learn from files: to train on, and to evaluate on.

By time, by chance, or by user; which one is named on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from model.sessions import SessionRule, Sessions
from model.user_split import by_user, split_users
from model.vocabulary import Vocabulary
from replay import datasets
from replay.console import load_log, log
from replay.offline import read_sessions

SEED = 0
SPLITS = ("temporal", "shuffled", "user")
Split = Annotated[
    str,
    typer.Option(
        help="temporal: evaluate on the newest sessions; shuffled: on any, which is easier; "
        "user: sequences are users, of each the newest tenth"
    ),
]


def check_split(split: str, *, gap_s: float | None = None, elsewhere: bool = False) -> bool:
    """Whether sequences are users; `elsewhere`: what to evaluate, or where sessions lie, is given besides."""
    if split not in SPLITS:
        raise typer.BadParameter(f"--split is {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, not {split!r}")
    if split == "user" and gap_s:
        raise typer.BadParameter("with --split user no --session-gap-s ends a sequence")
    if split != "temporal" and elsewhere:
        raise typer.BadParameter(
            f"--split {split} chooses what to evaluate among the log's own events, in memory: leave --test, "
            "--test-from and --memory-map out"
        )
    return split == "user"


def read_split(
    split: str,
    files: list[Path],
    test: list[Path] | None,
    gap_s: float | None,
    *,
    test_fraction: float,
    test_from: str | None,
    format: str | None,
    on_error: str,
    wanted: datasets.EventFilter | None = None,
    folder: Path | None = None,
    columns: Sequence[str] = (),
    catalogue: Mapping[str, str] | None = None,
) -> tuple[Sessions, Sessions, Vocabulary]:
    """Training sessions, test sessions and the vocabulary of the first, as `read_sessions` says."""
    if split != "user":
        return read_sessions(
            files, test, SessionRule(gap_s), test_fraction=test_fraction, test_from=test_from,
            format=format, on_error=on_error, wanted=wanted, folder=folder, columns=columns,
            catalogue=catalogue, shuffled_by=SEED if split == "shuffled" else None,
        )  # fmt: skip
    return _read_users(
        files, format=format, on_error=on_error, wanted=wanted, columns=columns, catalogue=catalogue
    )


def _read_users(
    files: list[Path],
    *,
    format: str | None,
    on_error: str,
    wanted: datasets.EventFilter | None,
    columns: Sequence[str],
    catalogue: Mapping[str, str] | None,
) -> tuple[Sessions, Sessions, Vocabulary]:
    """Each user's first events, the users to test, and the vocabulary of the first.

    Raises NextclickError when the log has no users, or none of them enough events.
    """
    frame = by_user(load_log(files, format, on_error, wanted))
    vocabulary = Vocabulary.from_frame(frame, columns)
    if catalogue is not None:
        vocabulary = vocabulary.with_titles(catalogue)
    users = Sessions.from_frame(frame, vocabulary, SessionRule(None))
    earlier, later, vocabulary = split_users(users, vocabulary, keep_titled=catalogue is not None)
    assert later.is_target is not None
    log.print(
        f"split by user: {len(earlier.items):,} events of {len(earlier):,} users to train, "
        f"{int(later.is_target.sum()):,} of {len(later):,} to evaluate",
        highlight=False,
    )
    return earlier, later, vocabulary
