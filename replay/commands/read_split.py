"""Reads a log from files, and splits it into a part to train on and a part to evaluate on.

The commands that learn from files share it: train, evaluate, compare, tune, cadence.
Tested by tests/unit/replay/commands/test_filtered_commands.py and tests/learning/test_offline_commands.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from model.data.session_parts import join
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.sessions_on_disk import SessionFile
from model.data.splits import LogSplit, by_user, shuffled_split, split_sessions, split_users
from model.data.vocabulary import Vocabulary, titles_of
from model.errors import NextclickError
from replay.commands.log_files import LogFiles
from replay.console import log, moment, parse_moment
from replay.datasets.event_files import EventFiles
from replay.sending.event_time_order import in_event_time_order

# Events sorted in memory at a time when sessions are written to disk.
MAPPED_MEMORY_BYTES = 128 << 20
SEED = 0
DAY_MS = 86_400_000
SPLITS = ("temporal", "shuffled", "shuffled-users", "user")
Split = Annotated[
    str,
    typer.Option(
        help="temporal: evaluate on the newest sessions; shuffled: on random sessions, which is easier; "
        "user: one sequence per user, evaluate on the newest tenth of each; shuffled-users: one sequence per "
        "user, evaluate on random users"
    ),
]


@dataclass(frozen=True)
class SplitChoice:
    """Which part of a log is evaluated: --split, --test, --test-fraction and --test-from.

    A study also evaluates the `last_days` of a log, or reads a `user_share` of the users, chosen by their id.

    >>> SplitChoice("user").by_user
    True
    """

    split: str = "temporal"
    test_files: Sequence[Path] | None = None
    test_fraction: float = 0.1
    test_from: str | None = None
    last_days: float | None = None
    user_share: float = 1.0

    def __post_init__(self) -> None:
        """Raises typer.BadParameter when the options contradict each other."""
        if self.split not in SPLITS:
            raise typer.BadParameter(
                f"--split is {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, not {self.split!r}"
            )
        self._only_temporal_with(bool(self.test_files or self.test_from))

    @property
    def by_user(self) -> bool:
        """Whether a sequence is all events of a user."""
        return self.split in ("user", "shuffled-users")

    def check(self, gap_s: float | None, *, memory_map: bool = False) -> None:
        """Raises typer.BadParameter when --session-gap-s or --memory-map does not go with the split."""
        if self.by_user and gap_s:
            raise typer.BadParameter(f"with --split {self.split} no --session-gap-s ends a sequence")
        self._only_temporal_with(memory_map)

    def _only_temporal_with(self, given: bool) -> None:
        if given and self.split != "temporal":
            raise typer.BadParameter(
                f"--split {self.split} chooses what to evaluate among the log's own events, in memory: leave "
                "--test, --test-from and --memory-map out"
            )


def read_split(
    log_files: LogFiles,
    choice: SplitChoice,
    gap_s: float | None,
    *,
    columns: Sequence[str] = (),
    titles: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> LogSplit:
    """Training sessions, test sessions and the training sessions' vocabulary.

    `columns` are the event columns, besides the item, that the networks read. With `titles`, by item id,
    the vocabulary also holds, with count 0, every titled item of `titles` and of both parts. With `folder`
    the sessions are written there and memory-mapped. Raises NextclickError when a network reads
    `columns` that sessions on disk lack, or when a split by user finds no users with enough events.
    """
    if choice.split == "temporal" and log_files.columns and log_files.columns.sessions == "user":
        log.print(
            "a session is a whole user, on one side of the split: --split user evaluates the newest of each",
            highlight=False,
        )
    sessions, vocabulary = _read_sessions(log_files, choice, gap_s, columns, folder)
    if choice.test_files:
        # The metadata of the training files describe the items of the test files, too.
        metadata = (
            EventFiles(log_files.files, format=log_files.format, columns=log_files.columns).open().metadata
        )
        tested = list(dict.fromkeys([*choice.test_files, *metadata]))
        test_log = replace(log_files, files=tested, topic=None)
        frame = test_log.load()
        if titles is not None:
            vocabulary = vocabulary.with_titles({**titles_of(frame), **vocabulary.titles, **titles})
            _print_titles(vocabulary)
        rule = SessionRule(gap_s)
        test = _without_learned(Sessions.from_frame(frame, vocabulary, rule), sessions)
        return LogSplit(sessions, test, vocabulary)
    if titles is not None:
        vocabulary = vocabulary.with_titles(titles)
    parts = _split(sessions, vocabulary, choice, keep_titled=titles is not None)
    if titles is not None:
        _print_titles(parts[2])
    _print_parts(choice.split, parts)
    return parts


def _without_learned(test: Sessions, training: Sessions) -> Sessions:
    """Leave the sessions out of the test files that the training files hold too.

    The same session has the same id and begins at the same time. Raises NextclickError when none is left.
    """
    begins_ms, learned_ms = test.times_ms[test.offsets[:-1]], training.times_ms[training.offsets[:-1]]
    close = np.flatnonzero(np.isin(learned_ms, begins_ms))
    learned = set(zip(training.session_ids[close].tolist(), learned_ms[close].tolist(), strict=True))
    ids = test.session_ids
    if training.session_ids.dtype != object:
        # Sessions on disk have the hash of their id.
        ids = pd.util.hash_array(ids)
    begins = zip(ids.tolist(), begins_ms.tolist(), strict=True)
    is_new = np.fromiter((begin not in learned for begin in begins), bool, len(test))
    if not is_new.any():
        raise NextclickError(
            f"all {len(test):,} sessions of the test files are in the training files too",
            "A model would be evaluated on what it has learned by heart.",
            "Name other files with --test, or leave it out: the newest tenth is then evaluated.",
        )
    if not is_new.all():
        log.print(
            f"{int((~is_new).sum()):,} of {len(test):,} test sessions are in the training files: left out",
            highlight=False,
        )
    return test if is_new.all() else test.select(np.flatnonzero(is_new))


def _read_sessions(
    log_files: LogFiles,
    choice: SplitChoice,
    gap_s: float | None,
    columns: Sequence[str],
    folder: Path | None,
) -> tuple[Sessions, Vocabulary]:
    rule = SessionRule(None if choice.by_user else gap_s)
    log_files.agree()
    if folder is None:
        parts = None if columns or choice.by_user else log_files.load_partitions(rule)
        if parts is not None:
            return join(parts)
        frame = log_files.load()
        frame = by_user(frame) if choice.by_user else frame
        if choice.user_share < 1:
            hashes = pd.util.hash_array(frame["session_id"].to_numpy(object))
            frame = frame[hashes < choice.user_share * 2.0**64]
        vocabulary = Vocabulary.from_frame(frame, columns)
        return Sessions.from_frame(frame, vocabulary, rule), vocabulary
    if columns:
        raise NextclickError(
            f"the network reads {', '.join(columns)} too, and sessions on disk have items and times only",
            "A log larger than memory cannot be learned from by this network.",
            "Leave --memory-map away, or choose a network that reads items alone.",
        )
    ordered = in_event_time_order(
        log_files.event_files().read, memory_bytes=MAPPED_MEMORY_BYTES, folder=folder
    )
    sessions, vocabulary = SessionFile(folder).write(ordered, rule)
    log.print(f"{len(sessions.items):,} events in {len(sessions):,} sessions on disk", highlight=False)
    log_files.print_notes()
    return sessions, vocabulary


def _split(sessions: Sessions, vocabulary: Vocabulary, choice: SplitChoice, *, keep_titled: bool) -> LogSplit:
    if choice.split == "user":
        return split_users(sessions, vocabulary, keep_titled=keep_titled)
    if choice.split in ("shuffled", "shuffled-users"):
        return shuffled_split(
            sessions, vocabulary, test_fraction=choice.test_fraction, seed=SEED, keep_titled=keep_titled
        )
    test_from_ms = parse_moment(choice.test_from)
    if choice.last_days is not None:
        test_from_ms = int(sessions.times_ms.max() - choice.last_days * DAY_MS)
    return split_sessions(
        sessions,
        vocabulary,
        test_fraction=choice.test_fraction,
        test_from_ms=test_from_ms,
        keep_titled=keep_titled,
    )


def _print_parts(split: str, parts: LogSplit) -> None:
    earlier, later, _ = parts
    if later.is_target is not None:
        log.print(
            f"split by user: {len(earlier.items):,} events of {len(earlier):,} users to train, "
            f"{int(later.is_target.sum()):,} of {len(later):,} to evaluate",
            highlight=False,
        )
        return
    by = "chance" if split != "temporal" else f"time at {moment(int(later.times_ms[later.offsets[0]]))}"
    log.print(
        f"split by {by}: {len(earlier.items):,} events to train, {len(later.items):,} to evaluate, of them "
        f"{int((later.items < 0).sum()):,} of unknown items",
        highlight=False,
    )


def _print_titles(vocabulary: Vocabulary) -> None:
    titled = sum(bool(vocabulary.titles.get(item)) for item in vocabulary.item_ids)
    log.print(
        f"{titled:,} of {len(vocabulary):,} items have a title; {int((vocabulary.counts == 0).sum()):,} are "
        "known by it alone, without an event to train on",
        highlight=False,
    )
