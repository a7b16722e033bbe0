"""Trivago (RecSys Challenge 2019): actions on hotels, in epoch seconds and steps of a session.

Only actions on an item are events: a clickout, which leaves for the booking site, is a cart, all others
are views. Searches and filters have no item, nor has the clickout that a test session asks to predict.
Actions within a second keep the order of the file.

Tested by tests/unit/replay/datasets/test_published_formats.py.
"""

from __future__ import annotations

import pandas as pd

from replay.reading.format import Converted, Format, number, reasons, text_or_none, whole_ms

COLUMNS = (
    "user_id",
    "session_id",
    "timestamp",
    "step",
    "action_type",
    "reference",
    "platform",
    "city",
    "device",
    "current_filters",
    "impressions",
    "prices",
)
CLICKOUT = "clickout item"
ON_ITEMS = (
    CLICKOUT,
    "interaction item image",
    "interaction item info",
    "interaction item rating",
    "interaction item deals",
    "search for item",
)


def convert(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    times = number(chunk["timestamp"])
    action = chunk["action_type"]
    events = pd.DataFrame(
        {
            "session_id": chunk["session_id"],
            "item_id": chunk["reference"],
            "event_time_ms": whole_ms(times * 1000),
            "kind": pd.Series("view", index=chunk.index, dtype="str").where(action != CLICKOUT, "cart"),
            "user_id": text_or_none(chunk["user_id"]),
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "timestamp is no number"),
        (chunk["session_id"] == "", "session_id is empty"),
    )
    left_out = reasons(
        chunk.index,
        (~action.isin(ON_ITEMS), "no action on an item"),
        (~chunk["reference"].str.fullmatch(r"\d+"), "no item"),
    )
    return Converted(events, broken, left_out)


FORMAT = Format(
    "trivago",
    ",",
    COLUMNS,
    True,
    lambda line: line == ",".join(COLUMNS),
    lambda: convert,
    time_shape=("timestamp", "9" * 10),
)
