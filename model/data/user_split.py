"""The split by user: sequences are users, and the newest tenth of each is to be predicted.

Donkers, Loepp, Ziegler (RecSys 2017), section 4.1.2: the first 90 % of a user's events are for
training, the rest is split evenly into validation and test, in order. What went before leads up
to a part's targets, as it does in the stream. Between users time does not separate: training
may hold events of others from after a target, as it does in the paper.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

HELD_OUT = 10


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


def split_users(
    users: Sessions, vocabulary: Vocabulary, *, keep_titled: bool = False
) -> tuple[Sessions, Sessions, Vocabulary]:
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
    return training.renamed(renamed, codes), newest_of(users).renamed(renamed, codes), known


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
