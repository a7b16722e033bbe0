"""The newest answers of this worker, to be given again while a partition moves or its owner is silent."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import orjson

MOST_BYTES = 16 << 20
OLDEST_S = 600.0


class KnownLists:
    """Bodies of answers by what was asked, for OLDEST_S; beyond `most_bytes` the one used longest ago goes.

    >>> known = KnownLists(now_s=iter([5.0, 7.5]).__next__)
    >>> known.put("/api/recommendations/s", b'{"items":[{"item_id":"a"},{"item_id":"b"}]}')
    >>> known.get("/api/recommendations/s", is_unlisted=lambda item: item == "a")
    b'{"items":[{"item_id":"b"}],"stale_s":2.5}'
    """

    def __init__(self, most_bytes: int = MOST_BYTES, now_s: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._now_s = now_s
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, asked: str, body: bytes) -> None:
        """Keep an answer."""
        self._drop(asked)
        self._kept[asked] = self._now_s(), body
        self._bytes += len(asked) + len(body)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def get(self, asked: str, is_unlisted: Callable[[str], bool]) -> bytes | None:
        """The answer without items that may be listed no more, its age in `stale_s`; None without one."""
        kept = self._kept.get(asked)
        if kept is None:
            return None
        age_s = self._now_s() - kept[0]
        if age_s > OLDEST_S:
            self._drop(asked)
            return None
        self._kept.move_to_end(asked)
        body: dict[str, Any] = orjson.loads(kept[1])
        items = [row for row in body["items"] if not is_unlisted(row["item_id"])]
        return orjson.dumps({**body, "items": items, "stale_s": round(age_s, 3)})

    def _drop(self, asked: str) -> None:
        kept = self._kept.pop(asked, None)
        self._bytes -= 0 if kept is None else len(asked) + len(kept[1])
