"""A split by chance: test sessions from the same days as the training ones.

Easier than what serving meets, where every session is later than the training: kept for
comparison with published figures that come from such a split.
"""

from __future__ import annotations

import numpy as np

from model.data.sessions import Sessions, split_at
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError


def shuffled_split(
    sessions: Sessions,
    vocabulary: Vocabulary,
    *,
    test_fraction: float,
    seed: int,
    keep_titled: bool = False,
) -> tuple[Sessions, Sessions, Vocabulary]:
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
