"""One stepped event as quality sees it: its item, and how that item ranked in the list shown before.

Tested by tests/unit/stream/quality/test_prequential.py.
"""

from __future__ import annotations

import msgspec


class ObservedEvent(msgspec.Struct, gc=False):
    """An event and how it was predicted; made in the step thread, summed once its wave is durable.

    `watermark_ms` is the watermark of its partition before the event. `known`: the version in service
    was trained on the item. `position` counts the session's events up to the list that it was shown
    last, 0 without a list and so without a prediction; `version` made that list. Ranks count from 1, 0
    is a miss. `masked` are the items that no list of this session may hold. `learned`: the version that
    made the list, or the one in service, has learned from this very event. `source_ranks` are the ranks
    in the list of each source of a fused list, int8 (see `ranks_in`), b"" where they are unknown.
    """

    partition: int
    watermark_ms: int
    time_ms: int
    session_id: str
    item_id: str
    known: bool
    position: int
    version: str
    champion_rank: int
    pop_rank: int
    masked: tuple[str, ...]
    learned: bool = False
    source_ranks: bytes = b""
