"""One stepped event as quality sees it: what came, and what its session had been shown before."""

from __future__ import annotations

import msgspec


class ObservedEvent(msgspec.Struct, gc=False):
    """An event and how it was predicted; made in the step thread, summed once its wave is durable.

    `watermark_ms` is its partition's before it. `known`: the version in service was trained on the item.
    `position` counts the session's events behind the list that it was shown last, 0 where there was
    no list and so no prediction; `version` made that list. Ranks count from 1, 0 is a miss. `masked`
    are items that no list of this session may hold.
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
