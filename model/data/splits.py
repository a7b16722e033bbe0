"""How a log is divided into training and test: by time, by chance, by user.

By time is what serving meets, and the default. By chance takes test sessions from the same days as
the training ones, which is easier; it is kept for comparison with published figures. By user, the
sequences are users and the newest tenth of each is predicted (Donkers, Loepp, Ziegler, RecSys 2017,
section 4.1.2): the first 90 % of a user's events are for training, the rest is halved in order into
validation and test. Between users time does not separate, as in the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

# One in HELD_OUT is held out: of the sessions to stop a training by, of each user's events to evaluate.
HELD_OUT = 10


class LogSplit(NamedTuple):
    """A log in two parts, and the vocabulary of the training part, whose indices both have."""

    training: Sessions
    test: Sessions
    vocabulary: Vocabulary


def temporal_split(
    frame: pd.DataFrame, *, test_fraction: float | None = None, test_from_ms: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Earlier part, later part: each session goes whole to the side where it begins.

    `test_fraction` puts that share of events, by time, into the later part; `test_from_ms`
    cuts at a time. Raises NextclickError when a side is empty.
    """
    times_ms = frame["event_time_ms"]
    if test_from_ms is None:
        test_from_ms = int(times_ms.quantile(1 - (test_fraction or 0.1), interpolation="higher"))
    begins_ms = times_ms.groupby(frame["session_id"]).transform("min")
    earlier, later = frame[begins_ms < test_from_ms], frame[begins_ms >= test_from_ms]
    if earlier.empty or later.empty:
        raise NextclickError(
            f"a split at {pd.Timestamp(test_from_ms, unit='ms', tz='UTC')} leaves {len(earlier)} events "
            f"before and {len(later)} after",
            "Both sides need events.",
            "Name another --test-fraction or --test-from, or a longer log.",
        )
    return earlier, later


def split_sessions(
    sessions: Sessions,
    vocabulary: Vocabulary,
    *,
    test_fraction: float | None = None,
    test_from_ms: int | None = None,
    keep_titled: bool = False,
) -> LogSplit:
    """Earlier sessions, later sessions, and the vocabulary of the earlier ones, whose indices both have.

    Sessions go whole to the side where they begin. `test_fraction` puts about that share of the
    events into the later part; `test_from_ms` cuts at a time; with `keep_titled` the vocabulary has
    all items that have a title. Raises NextclickError when a side is empty, or when the earlier one
    has fewer than two items.
    """
    begins_ms = sessions.times_ms[sessions.offsets[:-1]]
    if test_from_ms is None:
        wanted = int(sessions.offsets[-1] * (1 - (test_fraction or 0.1)))
        cut = int(np.searchsorted(sessions.offsets, wanted, side="right")) - 1
        # Sessions that begin at the same moment stay together.
        test_from_ms = int(begins_ms[min(cut, len(begins_ms) - 1)])
    cut = int(np.searchsorted(begins_ms, test_from_ms))
    if not 0 < cut < len(sessions):
        raise NextclickError(
            f"a split at {pd.Timestamp(test_from_ms, unit='ms', tz='UTC')} leaves {cut:,} sessions before "
            f"it and {len(sessions) - cut:,} after",
            "Both sides need sessions.",
            "Name another --test-fraction or --test-from, or a longer log.",
        )
    return split_at(sessions, vocabulary, cut, keep_titled=keep_titled)


def split_at(sessions: Sessions, vocabulary: Vocabulary, cut: int, *, keep_titled: bool = False) -> LogSplit:
    """The first `cut` sessions, the others, and the vocabulary of the first, whose indices both have.

    With `keep_titled` that has all items that have a title. Raises NextclickError when the first have
    fewer than two items.
    """
    first = sessions.between(0, cut)
    counts = np.bincount(first.items[first.items >= 0], minlength=len(vocabulary))
    before = vocabulary
    vocabulary, renamed = before.restricted(counts, first.columns, keep_titled=keep_titled)
    sessions = sessions.renamed(renamed, vocabulary.features.renames_of(before.features))
    return LogSplit(sessions.between(0, cut), sessions.between(cut, len(sessions)), vocabulary)


def shuffled_split(
    sessions: Sessions,
    vocabulary: Vocabulary,
    *,
    test_fraction: float,
    seed: int,
    keep_titled: bool = False,
) -> LogSplit:
    """Training sessions, test sessions, both in their order, and the vocabulary of the first.

    `test_fraction` of all sessions, drawn by `seed`, are the test; with `keep_titled` the vocabulary has
    all items that have a title. Raises NextclickError when a side is empty, or when the training has
    fewer than two items.
    """
    count = round(test_fraction * len(sessions))
    if not 0 < count < len(sessions):
        raise NextclickError(
            f"{test_fraction:.1%} of {len(sessions):,} sessions are {count:,}",
            "Both sides of a split need sessions.",
            "Name another --test-fraction, or a longer log.",
        )
    is_test = np.zeros(len(sessions), bool)
    is_test[np.random.default_rng(seed).permutation(len(sessions))[:count]] = True
    order = np.argsort(is_test, kind="stable")
    return split_at(sessions.select(order), vocabulary, len(sessions) - count, keep_titled=keep_titled)


def hold_out_newest(sessions: Sessions) -> tuple[Sessions, Sessions]:
    """The sessions without the newest tenth, and that tenth, without its unknown items.

    Raises NextclickError when either part has no next event.
    """
    cut = len(sessions) - max(1, len(sessions) // HELD_OUT)
    earlier, later = sessions.between(0, cut), sessions.between(cut, len(sessions)).known()
    if not earlier.pairs or not later.pairs:
        raise NextclickError(
            f"{len(sessions):,} sessions are too few to hold the newest tenth of them out",
            "With patience, training stops by how it predicts sessions that it does not learn from.",
            "Use a longer log, or leave patience away.",
        )
    return earlier, later


def by_user(frame: pd.DataFrame) -> pd.DataFrame:
    """The events that have a user, each user's as one session that nothing ends.

    Raises NextclickError when no event has a user.
    """
    if "user_id" not in frame or frame["user_id"].isna().all():
        raise NextclickError(
            "no event of the log has a user",
            "There are no sequences of users to split.",
            "Leave out --split user, or name a log that says who did what.",
        )
    kept = frame["user_id"].notna()
    if "kind" in frame:
        kept &= frame["kind"] != "session_end"
    frame = frame[kept]
    return frame.assign(session_id=frame["user_id"])


def split_users(users: Sessions, vocabulary: Vocabulary, *, keep_titled: bool = False) -> LogSplit:
    """Each user's first events, the users to test, and the vocabulary of the first, whose indices both have.

    Of a user's n events the newest n // 10 are held out, and of these the newer half is to be tested
    (of an odd number the larger one): the targets of the second sessions. Users of fewer than ten
    events are only trained on. With `keep_titled` the vocabulary has all items that have a title.
    Raises NextclickError when nothing is held out, or when the first events have fewer than two items.
    """
    held_out = _held_out(users)
    if not held_out.any():
        raise NextclickError(
            f"none of the {len(users):,} users has {HELD_OUT} events",
            "A tenth of each one's events is kept for the evaluation, and that is none.",
            "Use a longer log, or leave out --split user.",
        )
    training = users.heads(users.lengths - held_out)
    counts = np.bincount(training.items[training.items >= 0], minlength=len(vocabulary))
    known, renamed = vocabulary.restricted(counts, training.columns, keep_titled=keep_titled)
    codes = known.features.renames_of(vocabulary.features)
    return LogSplit(training.renamed(renamed, codes), newest_of(users).renamed(renamed, codes), known)


def newest_of(users: Sessions) -> Sessions:
    """The users who have something to test, with all their events; what is to be tested is marked."""
    return _marked(users, users.lengths - (_held_out(users) + 1) // 2)


def validation_of(users: Sessions) -> Sessions:
    """Users with all their events → those who have something to validate, without what is to be tested."""
    held_out = _held_out(users)
    tested = (held_out + 1) // 2
    return _marked(users.heads(users.lengths - tested), users.lengths - held_out)


def _held_out(users: Sessions) -> npt.NDArray[np.int64]:
    return users.lengths // HELD_OUT


def _marked(users: Sessions, begins: npt.NDArray[np.int64]) -> Sessions:
    """The users who have events from their `begins`-th on, which are marked as targets."""
    place = np.arange(len(users.items)) - np.repeat(users.offsets[:-1], users.lengths)
    marked = replace(users, is_target=place >= np.repeat(begins, users.lengths))
    return marked.select(np.flatnonzero(begins < users.lengths))
