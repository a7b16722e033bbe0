"""Globo.com news clicks: timestamp_ms, session_id, user_id, item_id; CSV, may be compressed.

The time of a session's last click is imputed in the data: its final gap is always 30 s.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

import pandas as pd

from replay.reading.format import Converted, Format, is_empty, number, reasons, same_text, whole_ms

COLUMNS = ("timestamp_ms", "session_id", "user_id", "item_id")


def convert(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    times = number(chunk["timestamp_ms"])
    events = pd.DataFrame(
        {
            "session_id": chunk["session_id"],
            "item_id": chunk["item_id"],
            "event_time_ms": whole_ms(times),
            "kind": same_text("view", chunk.index),
            "user_id": chunk["user_id"],
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "timestamp_ms is no number"),
        (is_empty(chunk["session_id"]), "session_id is empty"),
        (is_empty(chunk["item_id"]), "item_id is empty"),
    )
    return Converted(events, broken, reasons(chunk.index))


FORMAT = Format(
    "globo",
    ",",
    COLUMNS,
    True,
    lambda line: line == ",".join(COLUMNS),
    lambda: convert,
    time_shape=("timestamp_ms", "9" * 13),
)
