"""RecSys Challenge 2015 (YooChoose): the raw clicks and buys, and the preprocessed clicks.

Raw `yoochoose-clicks.dat`: session, timestamp (ISO, UTC, milliseconds), item, category, without a
header; `yoochoose-buys.dat`: session, timestamp, item, price, quantity. Both files have the same
sessions and can be read as one log. A price of 0 means unknown. Preprocessed: tab-separated SessionId,
ItemId, Time in epoch seconds with a fraction, or in any other unit, as other pipelines write it.
Only the test file is in order of time.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pandas as pd

from replay.reading.format import (
    NO_TIME,
    Converted,
    Format,
    is_empty,
    number,
    reasons,
    same_text,
    text_or_none,
    times_of,
    whole_ms,
)
from replay.reading.times import TimeUnit
from replay.reading.values import float_ids, ids_of
from stream.time_units import MS_OF

PREPROCESSED_COLUMNS = ("SessionId", "ItemId", "Time")
RAW_COLUMNS = ("session", "timestamp", "item", "category")
BUYS_COLUMNS = ("session", "timestamp", "item", "price", "quantity")
MOMENT_SHAPE = ("timestamp", "9999-99-99T99:59:59.999Z")
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
RAW_LINE = re.compile(rf"^\d+,{MOMENT},\d+,[^,]*$")
BUYS_LINE = re.compile(rf"^\d+,{MOMENT},\d+,\d+(\.\d+)?,\d+$")


def convert_preprocessed(unit: TimeUnit, chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns, whose times are of the unit, to events."""
    times = unit.to_ms(chunk["Time"])
    events = pd.DataFrame(
        {
            "session_id": ids_of(chunk["SessionId"]),
            "item_id": ids_of(chunk["ItemId"]),
            "event_time_ms": whole_ms(times),
            "kind": same_text("view", chunk.index),
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), "Time is no number" if unit.unit in MS_OF else "Time is no time"),
        (is_empty(chunk["SessionId"]), "SessionId is empty"),
        (is_empty(chunk["ItemId"]), "ItemId is empty"),
    )
    floats = float_ids(chunk["SessionId"], chunk["ItemId"])
    return Converted(events, broken, reasons(chunk.index), floats)


def convert_raw(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    return _convert_moments(
        chunk, {"kind": same_text("view", chunk.index), "category": text_or_none(chunk["category"])}
    )


def convert_buys(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    price = number(chunk["price"])
    return _convert_moments(
        chunk,
        {"kind": "purchase", "price": price.where(price > 0)},
        (price.isna() & (chunk["price"] != ""), "price is no number"),
    )


def _convert_moments(
    chunk: pd.DataFrame, columns: dict[str, Any], *checks: tuple[pd.Series[bool], str]
) -> Converted:
    times = times_of(chunk["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
    events = pd.DataFrame(
        {
            "session_id": chunk["session"],
            "item_id": chunk["item"],
            "event_time_ms": times,
            **columns,
        }
    )
    broken = reasons(
        chunk.index,
        (times == NO_TIME, "timestamp is no ISO time"),
        (is_empty(chunk["session"]), "session is empty"),
        (is_empty(chunk["item"]), "item is empty"),
        *checks,
    )
    return Converted(events, broken, reasons(chunk.index))


PREPROCESSED = Format(
    "rsc15",
    "\t",
    PREPROCESSED_COLUMNS,
    True,
    lambda line: line == "\t".join(PREPROCESSED_COLUMNS),
    lambda unit: partial(convert_preprocessed, unit),
    time_column="Time",
)
RAW = Format(
    "rsc15-raw",
    ",",
    RAW_COLUMNS,
    False,
    lambda line: bool(RAW_LINE.match(line)),
    lambda: convert_raw,
    time_shape=MOMENT_SHAPE,
)
BUYS = Format(
    "rsc15-buys",
    ",",
    BUYS_COLUMNS,
    False,
    lambda line: bool(BUYS_LINE.match(line)),
    lambda: convert_buys,
    time_shape=MOMENT_SHAPE,
)
