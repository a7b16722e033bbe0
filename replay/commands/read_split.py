"""A log in two parts for the commands that learn from files: to train on, and to evaluate on.

By time, by chance, or by user; which one is named on the command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from model.data.sessions import SessionRule, Sessions
from model.data.sessions_on_disk import SessionFile
from model.data.splits import by_user, shuffled_split, split_sessions, split_users
from model.data.vocabulary import Vocabulary, titles_of
from model.errors import NextclickError
from replay import datasets
from replay.console import check_on_error, log, moment, parse_moment
from replay.sending.event_time_order import in_event_time_order

# Gathered to sort at a time, where a log is read by way of the disk.
MAPPED_MEMORY_BYTES = 128 << 20
SEED = 0
SPLITS = ("temporal", "shuffled", "user")
Split = Annotated[
    str,
    typer.Option(
        help="temporal: evaluate on the newest sessions; shuffled: on any, which is easier; "
        "user: sequences are users, of each the newest tenth"
    ),
]
Parts = tuple[Sessions, Sessions, Vocabulary]


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
) -> Parts:
    """Training sessions, test sessions and the vocabulary of the first; read by way of `folder` if given.

    `columns` are the events' fields, beside the item, that the networks read. With `catalogue`, titles
    by item id, the vocabulary also has, without a count, all items of it and of both parts that have a
    title. Raises NextclickError when a folder is given for a network that reads some columns, and, split
    by user, when the log has no users, or none of them enough events.
    """
    if folder is not None and columns:
        raise NextclickError(
            f"the network reads {', '.join(columns)} too, and sessions on disk have items and times only",
            "A log larger than memory cannot be learned from by this network.",
            "Leave --memory-map away, or choose a network that reads items alone.",
        )
    rule = SessionRule(None if split == "user" else gap_s)
    if folder is None:
        frame = load_log(files, format, on_error, wanted)
        frame = by_user(frame) if split == "user" else frame
        vocabulary = Vocabulary.from_frame(frame, columns)
        sessions = Sessions.from_frame(frame, vocabulary, rule)
    else:
        log_files = datasets.EventFiles(
            files, format=format, on_error=check_on_error(on_error), wanted=wanted
        )
        ordered = in_event_time_order(
            log_files.read,
            memory_bytes=MAPPED_MEMORY_BYTES,
            folder=folder,
        )
        sessions, vocabulary = SessionFile(folder).write(ordered, rule)
        log.print(f"{len(sessions.items):,} events in {len(sessions):,} sessions on disk", highlight=False)
    if test:
        # The metadata of the training files describe the test's items, too.
        named = datasets.EventFiles(files, format=format).metadata
        frame = load_log(list(dict.fromkeys([*test, *named])), format, on_error, wanted)
        if catalogue is not None:
            vocabulary = vocabulary.with_titles({**titles_of(frame), **vocabulary.titles, **catalogue})
            _tell_of_titles(vocabulary)
        return sessions, Sessions.from_frame(frame, vocabulary, rule), vocabulary
    keep_titled = catalogue is not None
    if catalogue is not None:
        vocabulary = vocabulary.with_titles(catalogue)
    if split == "user":
        parts = split_users(sessions, vocabulary, keep_titled=keep_titled)
    elif split == "shuffled":
        parts = shuffled_split(
            sessions, vocabulary, test_fraction=test_fraction, seed=SEED, keep_titled=keep_titled
        )
    else:
        parts = split_sessions(
            sessions,
            vocabulary,
            test_fraction=test_fraction,
            test_from_ms=parse_moment(test_from),
            keep_titled=keep_titled,
        )
    if keep_titled:
        _tell_of_titles(parts[2])
    _tell_of_parts(split, parts)
    return parts


def _tell_of_parts(split: str, parts: Parts) -> None:
    earlier, later, _ = parts
    if later.is_target is not None:
        log.print(
            f"split by user: {len(earlier.items):,} events of {len(earlier):,} users to train, "
            f"{int(later.is_target.sum()):,} of {len(later):,} to evaluate",
            highlight=False,
        )
        return
    by = "chance" if split == "shuffled" else f"time at {moment(int(later.times_ms[later.offsets[0]]))}"
    log.print(
        f"split by {by}: {len(earlier.items):,} events to train, {len(later.items):,} to evaluate, of them "
        f"{int((later.items < 0).sum()):,} of unknown items",
        highlight=False,
    )


def _tell_of_titles(vocabulary: Vocabulary) -> None:
    titled = sum(bool(vocabulary.titles.get(item)) for item in vocabulary.item_ids)
    log.print(
        f"{titled:,} of {len(vocabulary):,} items have a title; {int((vocabulary.counts == 0).sum()):,} are "
        "known by it alone, without an event to train on",
        highlight=False,
    )


def load_log(
    files: Sequence[Path], form: str | None, on_error: str, wanted: datasets.EventFilter | None = None
) -> pd.DataFrame:
    """The files' events that are `wanted`; what was left out is told on stderr."""
    rejects: Counter[str] = Counter()
    frame = datasets.load(
        files, format=form, on_error=check_on_error(on_error), wanted=wanted, rejects=rejects
    )
    times = frame["event_time_ms"]
    log.print(
        f"{len(frame):,} events, {moment(times.iloc[0])} to {moment(times.iloc[-1])}"
        + "".join(f"; left out {count:,}: {reason}" for reason, count in rejects.items()),
        highlight=False,
    )
    return frame
