"""Kaggle mkechinov / REES46 eCommerce events: monthly CSV files, may be .gz or .zip.

event_time reads `2019-10-01 00:00:00 UTC`. brand and category_code are often empty. Rows with an
empty user_session are left out, and so are the few repeated rows.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

import pandas as pd

from replay.reading.format import (
    NO_TIME,
    Convert,
    Converted,
    Format,
    is_empty,
    reasons,
    text_or_none,
    times_of,
)
from replay.reading.repeats import Repeats
from replay.reading.values import UNCLEAR_PRICE, float_ids, ids_of, one_of, price_of

COLUMNS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
KINDS = ("view", "cart", "purchase")


def converter() -> Convert:
    """The conversion of one file; repeated rows are found because the file is in order of time."""
    repeated = Repeats(*COLUMNS)
    return lambda chunk: convert(chunk, repeated)


def convert(chunk: pd.DataFrame, repeated: Repeats) -> Converted:
    """Convert a chunk of text columns to events."""
    times = times_of(chunk["event_time"], "%Y-%m-%d %H:%M:%S UTC")
    price, no_price, unclear = price_of(chunk["price"])
    events = pd.DataFrame(
        {
            "session_id": chunk["user_session"],
            "item_id": ids_of(chunk["product_id"]),
            "event_time_ms": times,
            "kind": chunk["event_type"],
            "user_id": ids_of(chunk["user_id"]),
            "price": price,
            "brand": text_or_none(chunk["brand"]),
            "category": text_or_none(chunk["category_code"]),
        }
    )
    broken = reasons(
        chunk.index,
        (times == NO_TIME, "event_time is no time"),
        (is_empty(chunk["product_id"]), "product_id is empty"),
        (no_price, "price is no number"),
        (unclear, UNCLEAR_PRICE),
    )
    left_out = reasons(
        chunk.index,
        (is_empty(chunk["user_session"]), "no session"),
        (~one_of(chunk["event_type"], KINDS), "other kind of event"),
        (repeated(chunk), "duplicate"),
    )
    return Converted(events, broken, left_out, float_ids(chunk["product_id"], chunk["user_id"]))


FORMAT = Format(
    "mkechinov",
    ",",
    COLUMNS,
    True,
    lambda line: line == ",".join(COLUMNS),
    converter,
    time_shape=("event_time", "9999-99-99 99:59:59 UTC"),
)
