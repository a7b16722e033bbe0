"""Diginetica (CIKM Cup 2016): item views and purchases of sessions, separated by semicolons.

The time is the day, `eventdate`, plus `timeframe`, milliseconds since the session's first query, as if
every session began at midnight UTC. Users are mostly NA. Rows are not in order of time.

Tested by tests/unit/replay/datasets/test_published_formats.py.
"""

from __future__ import annotations

import pandas as pd

from replay.reading.format import (
    NO_TIME,
    Converted,
    Format,
    number,
    reasons,
    text_or_none,
    times_of,
    whole_ms,
)

VIEWS_COLUMNS = ("sessionId", "userId", "itemId", "timeframe", "eventdate")
# One of the published versions spells the columns differently.
OLD_VIEWS_COLUMNS = ("session_id", "user_id", "item_id", "timeframe", "eventdate")
PURCHASES_COLUMNS = ("sessionId", "userId", "timeframe", "eventdate", "ordernumber", "itemId")
ALIASES = {
    "sessionId": ("sessionId", "session_id"),
    "userId": ("userId", "user_id"),
    "itemId": ("itemId", "item_id"),
}


def _convert(chunk: pd.DataFrame, kind: str) -> Converted:
    """Convert a chunk of text columns to events."""
    days = times_of(chunk["eventdate"], "%Y-%m-%d")
    since = number(chunk["timeframe"])
    events = pd.DataFrame(
        {
            "session_id": chunk["sessionId"],
            "item_id": chunk["itemId"],
            "event_time_ms": whole_ms(days + since),
            "kind": kind,
            "user_id": text_or_none(chunk["userId"].where(chunk["userId"] != "NA", "")),
        }
    )
    broken = reasons(
        chunk.index,
        (days == NO_TIME, "eventdate is no day"),
        (since.isna(), "timeframe is no number"),
        (chunk["sessionId"] == "", "sessionId is empty"),
        (chunk["itemId"] == "", "itemId is empty"),
    )
    return Converted(events, broken, reasons(chunk.index))


VIEWS = Format(
    "diginetica",
    ";",
    VIEWS_COLUMNS,
    True,
    lambda line: line in (";".join(VIEWS_COLUMNS), ";".join(OLD_VIEWS_COLUMNS)),
    lambda: lambda chunk: _convert(chunk, "view"),
    aliases=ALIASES,
)
PURCHASES = Format(
    "diginetica-purchases",
    ";",
    PURCHASES_COLUMNS,
    True,
    lambda line: line == ";".join(PURCHASES_COLUMNS),
    lambda: lambda chunk: _convert(chunk, "purchase"),
)
