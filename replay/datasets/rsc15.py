"""RecSys Challenge 2015 (YooChoose) clicks: the raw file and the preprocessed one.

Raw `yoochoose-clicks.dat`: session, timestamp (ISO, UTC, milliseconds), item, category, no
header. Preprocessed: tab-separated SessionId, ItemId, Time in epoch seconds with fraction.
"""

from __future__ import annotations

import re

import pandas as pd

from replay.datasets.format import Converted, Format, epoch_ms, number, reasons, text_or_none, whole_ms

PREPROCESSED_COLUMNS = ("SessionId", "ItemId", "Time")
RAW_COLUMNS = ("session", "timestamp", "item", "category")
RAW_LINE = re.compile(r"^\d+,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z,\d+,")


def convert_preprocessed(chunk: pd.DataFrame) -> Converted:
    """Chunk of text columns → events."""
    times = number(chunk["Time"])
    events = pd.DataFrame(
        {
            "session_id": chunk["SessionId"],
            "item_id": chunk["ItemId"],
            "event_time_ms": whole_ms(times * 1000),
            "kind": "view",
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "Time is no number"),
        (chunk["SessionId"] == "", "SessionId is empty"),
        (chunk["ItemId"] == "", "ItemId is empty"),
    )
    return Converted(events, broken, pd.Series("", index=chunk.index, dtype=object))


def convert_raw(chunk: pd.DataFrame) -> Converted:
    """Chunk of text columns → events."""
    moments = pd.to_datetime(chunk["timestamp"], format="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, errors="coerce")
    events = pd.DataFrame(
        {
            "session_id": chunk["session"],
            "item_id": chunk["item"],
            "event_time_ms": epoch_ms(moments),
            "kind": "view",
            "category": text_or_none(chunk["category"]),
        }
    )
    broken = reasons(
        chunk.index,
        (moments.isna(), "timestamp is no ISO time"),
        (chunk["session"] == "", "session is empty"),
        (chunk["item"] == "", "item is empty"),
    )
    return Converted(events, broken, pd.Series("", index=chunk.index, dtype=object))


PREPROCESSED = Format(
    "rsc15",
    "\t",
    PREPROCESSED_COLUMNS,
    True,
    lambda line: line == "\t".join(PREPROCESSED_COLUMNS),
    lambda: convert_preprocessed,
)
RAW = Format(
    "rsc15-raw", ",", RAW_COLUMNS, False, lambda line: bool(RAW_LINE.match(line)), lambda: convert_raw
)
