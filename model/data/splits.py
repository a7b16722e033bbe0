"""How a log is divided into training and test: by time, by chance, by user.

The split by time matches serving and is the default. The split by chance draws test sessions from the
same days as the training sessions, which is easier; it serves comparison with published figures. In the
split by user a sequence is a user, and the newest tenth of it is held out (Donkers, Loepp, Ziegler,
RecSys 2017, section 4.1.2): the first 90 % of a user's events train, the older half of the rest
validates, the newer half tests. As in the paper, time does not separate the users from each other.
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

# One in HELD_OUT is held out: of the sessions, for early stopping; of each user's events, to evaluate.
HELD_OUT = 10


class LogSplit(NamedTuple):
    """A log in two parts, and the vocabulary of the training part; both parts have its indices."""

    training: Sessions
    test: Sessions
    vocabulary: Vocabulary


class HeldOut(NamedTuple):
    """A log whose training stops early: `earlier` are the sessions to learn from, `validation` decides.

    `log` is the whole log in the vocabulary of what `earlier` holds, for models that do not stop early.
    """

    log: LogSplit
    earlier: Sessions
    validation: Sessions


def temporal_split(
    frame: pd.DataFrame, *, test_fraction: float | None = None, test_from_ms: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the earlier and the later part; each session goes whole to the side where it begins.

    `test_fraction` puts this share of the events, by time, into the later part; `test_from_ms` cuts at a
    time. Raises NextclickError when a side is empty.

    >>> log = pd.DataFrame({"session_id": ["s", "s", "t"], "event_time_ms": [0, 9, 9]})
    >>> [len(part) for part in temporal_split(log, test_from_ms=5)]
    [2, 1]
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
    """Split by time: the earlier sessions train, the later sessions test.

    Sessions go whole to the side where they begin. `test_fraction` puts about this share of the events
    into the later part; `test_from_ms` cuts at a time. With `keep_titled` the vocabulary has all items
    that have a title. Raises NextclickError when a side is empty, or when the earlier side has fewer
    than two items.
    """
    begins_ms = sessions.times_ms[sessions.offsets[:-1]]
    if test_from_ms is None:
        wanted = int(sessions.offsets[-1] * (1 - (test_fraction or 0.1)))
        cut = int(np.searchsorted(sessions.offsets, wanted, side="right")) - 1
        # Sessions that begin at the same time stay together.
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
    """Train on the first `cut` sessions, test on the others.

    With `keep_titled` the vocabulary has all items that have a title. Raises NextclickError when the
    first sessions have fewer than two items.

    >>> pair = Sessions(np.array([0, 2, 4]), np.array([0, 2, 2, 1]), np.arange(4), np.array(["s", "t"]))
    >>> log = split_at(pair, Vocabulary(["a", "b", "c"], np.array([1, 1, 2])), 1)
    >>> log.vocabulary.item_ids.tolist(), log.test.items.tolist()
    (['a', 'c'], [1, -1])
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
    """Split by chance: `seed` draws `test_fraction` of the sessions; both parts keep their order.

    With `keep_titled` the vocabulary has all items that have a title. Raises NextclickError when a side
    is empty, or when the training part has fewer than two items.
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
    """Returns the sessions before the newest tenth, and the newest tenth without its unknown items.

    Raises NextclickError when either part has no next event.
    """
    cut = len(sessions) - max(1, len(sessions) // HELD_OUT)
    earlier, later = sessions.between(0, cut), sessions.between(cut, len(sessions)).known()
    if not earlier.pairs or not later.pairs:
        raise _too_few(len(sessions))
    return earlier, later


def _too_few(sessions: int) -> NextclickError:
    return NextclickError(
        f"{sessions:,} sessions are too few to hold the newest tenth of them out",
        "With patience, training stops by how it predicts sessions that it does not learn from.",
        "Use a longer log, or leave patience away.",
    )


def _no_validation() -> NextclickError:
    return NextclickError(
        "no user has a validation event of a known item",
        "With patience, training stops by the older half of each user's newest tenth: twenty events a user.",
        "Use a longer log, or leave patience away.",
    )


def hold_out(log: LogSplit, *, keep_titled: bool = False) -> HeldOut:
    """Hold out of the training part what decides when a training stops; the test part never decides.

    Of a log split by user these are the users' validation events, so that every user is learned from;
    otherwise the newest tenth of the sessions. An item, or a value of another column, that only the
    newest tenth has becomes unknown: its row would be ranked, or read, as it was before training. With
    `keep_titled` items that have a title stay. Raises NextclickError as `hold_out_newest` does.

    >>> items = np.array([0, 1] * 10 + [0, 2, 0])
    >>> sessions = Sessions(np.r_[0:22:2, 23], items, np.arange(23), np.array([*"abcdefghijk"]))
    >>> held = hold_out(LogSplit(sessions, sessions, Vocabulary(["a", "b", "c"], np.array([11, 10, 1]))))
    >>> held.log.vocabulary.item_ids.tolist(), len(held.earlier), held.log.test.items[-3:].tolist()
    (['a', 'b'], 10, [0, -1, 0])
    """
    training, test, before = log
    if test.is_target is not None:
        validation = validation_of(test)
        if not validation.ranked:
            raise _no_validation()
        return HeldOut(log, training, validation)
    training = training.known()
    if not training.pairs:
        raise _too_few(len(log.training))
    earlier, later = hold_out_newest(training)
    is_learned = np.bincount(earlier.items, minlength=len(before)) > 0
    counts = np.where(is_learned, before.counts, 0)
    vocabulary, renamed = before.restricted(counts, earlier.columns, keep_titled=keep_titled)
    codes = vocabulary.features.renames_of(before.features)

    def known(part: Sessions) -> Sessions:
        return part.renamed(renamed, codes)

    validation = known(later).known()
    if not validation.pairs:
        raise _too_few(len(training))
    return HeldOut(LogSplit(known(training), known(test), vocabulary), known(earlier), validation)


def by_user(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the events that have a user; each user's events are one session without an end.

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
    """Split by user: each user's first events train, the newest events test.

    Of a user's n events the newest n // 10 are held out. Their newer half (the larger half of an odd
    number) are the targets of the test sessions. Users of fewer than ten events are only trained on.
    With `keep_titled` the vocabulary has all items that have a title. Raises NextclickError when nothing
    is held out, or when the training part has fewer than two items.
    """
    held_out = _held_out(users)
    if not held_out.any():
        raise NextclickError(
            f"none of the {len(users):,} users has {HELD_OUT} events",
            "A tenth of each one's events is kept for the evaluation, and that is none.",
            "Use a longer log, or --split shuffled-users, which evaluates whole users drawn by chance.",
        )
    training = users.heads(users.lengths - held_out)
    counts = np.bincount(training.items[training.items >= 0], minlength=len(vocabulary))
    known, renamed = vocabulary.restricted(counts, training.columns, keep_titled=keep_titled)
    codes = known.features.renames_of(vocabulary.features)
    return LogSplit(training.renamed(renamed, codes), newest_of(users).renamed(renamed, codes), known)


def newest_of(users: Sessions) -> Sessions:
    """Returns the users who have test events, with all their events; `is_target` marks the test events."""
    return _marked(users, users.lengths - (_held_out(users) + 1) // 2)


def validation_of(users: Sessions) -> Sessions:
    """Returns the users who have validation events, without their test events.

    `users` have all their events; `is_target` marks the validation events.
    """
    held_out = _held_out(users)
    tested = (held_out + 1) // 2
    return _marked(users.heads(users.lengths - tested), users.lengths - held_out)


def _held_out(users: Sessions) -> npt.NDArray[np.int64]:
    return users.lengths // HELD_OUT


def _marked(users: Sessions, begins: npt.NDArray[np.int64]) -> Sessions:
    """Mark the events from each user's `begins`-th on as targets; drop users without such events."""
    place = np.arange(len(users.items)) - np.repeat(users.offsets[:-1], users.lengths)
    marked = replace(users, is_target=place >= np.repeat(begins, users.lengths))
    return marked.select(np.flatnonzero(begins < users.lengths))
