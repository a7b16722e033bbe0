"""RetailRocket events.csv: views, carts and transactions of visitors, not in order of time.

The visitor is the session, which the session gap cuts. Times are epoch milliseconds. A few hundred
rows are repeated, far from each other.

Tested by tests/unit/replay/datasets/test_published_formats.py.
"""

from __future__ import annotations

import pandas as pd

from replay.reading.format import Convert, Converted, Format, number, reasons, whole_ms
from replay.reading.repeats import SeenRows

COLUMNS = ("timestamp", "visitorid", "event", "itemid", "transactionid")
KINDS = {"view": "view", "addtocart": "cart", "transaction": "purchase"}


def converter() -> Convert:
    """The conversion of one file."""
    repeated = SeenRows()
    return lambda chunk: convert(chunk, repeated)


def convert(chunk: pd.DataFrame, repeated: SeenRows) -> Converted:
    """Convert a chunk of text columns to events."""
    times = number(chunk["timestamp"])
    kind = chunk["event"].map(KINDS)
    events = pd.DataFrame(
        {
            "session_id": chunk["visitorid"],
            "item_id": chunk["itemid"],
            "event_time_ms": whole_ms(times),
            "kind": kind.fillna("view"),
            "user_id": chunk["visitorid"],
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "timestamp is no number"),
        (chunk["visitorid"] == "", "visitorid is empty"),
        (chunk["itemid"] == "", "itemid is empty"),
    )
    left_out = reasons(chunk.index, (kind.isna(), "other kind of event"), (repeated(chunk), "duplicate"))
    return Converted(events, broken, left_out)


FORMAT = Format(
    "retailrocket",
    ",",
    COLUMNS,
    True,
    lambda line: line == ",".join(COLUMNS),
    converter,
    time_shape=("timestamp", "9" * 13),
)
