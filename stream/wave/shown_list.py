"""The list that a session was shown last, and how its next item ranks in what each source had proposed.

Shapes: B sessions, S sources, k list length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.config import LIST_LENGTH
from model.networks.fused.source_arrays import SOURCES
from model.networks.fused.source_lists import ranks_in
from stream.sessions.session_state import SessionState

LISTS_BYTES = 4 * len(SOURCES) * LIST_LENGTH


class ShownList(NamedTuple):
    """The items, the version that made the list, and the sources' own lists as the state has them."""

    items: list[str]
    version: str
    source_lists: bytes

    @classmethod
    def of(cls, state: SessionState) -> ShownList:
        """The list of a session's state."""
        return cls(state.list_items, state.model_version, state.source_lists)


def ranks_by_source(lists: Sequence[ShownList], items: Sequence[int], version: str) -> list[bytes]:
    """The rank of each session's item in the list of each source, S int8, as `ranks_in` says.

    b"" where the sources' lists are unknown: no fused list was shown, or another version made it, whose
    indices mean other items.

    >>> lists_Sk = np.full((len(SOURCES), LIST_LENGTH), -1, np.int32)
    >>> lists_Sk[0, 2] = 7
    >>> shown = ShownList(["i7"], "v1", lists_Sk.tobytes())
    >>> list(ranks_by_source([shown], [7], "v1")[0])[:2], ranks_by_source([shown], [7], "v2")
    ([3, 0], [b''])
    """
    ranks = [b""] * len(lists)
    known = [
        place
        for place, shown in enumerate(lists)
        if shown.version == version and len(shown.source_lists) == LISTS_BYTES
    ]
    if not known:
        return ranks
    joined = b"".join(lists[place].source_lists for place in known)
    lists_BSk = np.frombuffer(joined, np.int32).reshape(len(known), len(SOURCES), LIST_LENGTH)
    ranks_BS = ranks_in(lists_BSk, np.array([items[place] for place in known])).astype(np.int8)
    for place, ranks_S in zip(known, ranks_BS, strict=True):
        ranks[place] = ranks_S.tobytes()
    return ranks
