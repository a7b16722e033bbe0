"""Amazon reviews of 2014, 2018 and 2023: one object per line, or CSV; metadata join by asin.

A review is a purchase, the user is the session. Times give the day in 2014 and 2018 (seconds), the
moment in 2023 (milliseconds). In 2023 a review names a variant (asin) of a product (parent_asin); the
product is the item. Repeated reviews are left out.
"""

from __future__ import annotations

import re

import msgspec
import pandas as pd

from replay.datasets.amazon_metadata import METADATA, METADATA_CSV, read_object
from replay.reading.delimited import header_of
from replay.reading.format import (
    Convert,
    Converted,
    Format,
    UnreadableLine,
    number,
    reasons,
    whole_ms,
)
from replay.reading.repeats import Repeats
from stream.time_units import LEAST_MS

__all__ = ["METADATA", "METADATA_CSV", "RATINGS", "RATINGS_2018", "REVIEWS", "REVIEWS_CSV"]

COLUMNS = ("user", "item", "time")
ALIASES = {
    "user": ("reviewerID", "user_id", "UserId"),
    "item": ("parent_asin", "asin", "ProductId"),
    "time": ("unixReviewTime", "timestamp", "Timestamp"),
}
RATING_COLUMNS = ("user", "item", "rating", "time")
USER, ASIN = r"A[0-9A-Z]{10,}", r"[0-9A-Z]{10}"
RATING_LINE = re.compile(rf"^{USER},{ASIN},\d(\.\d)?,\d{{9,10}}$")
RATING_LINE_2018 = re.compile(rf"^{ASIN},{USER},\d(\.\d)?,\d{{9,10}}$")


class _Review(msgspec.Struct):
    """The fields read from a review; every release has its own names."""

    reviewerID: str | None = None
    user_id: str | None = None
    asin: str | None = None
    parent_asin: str | None = None
    unixReviewTime: int | float | str | None = None
    timestamp: int | float | str | None = None

    @property
    def user(self) -> str:
        return self.reviewerID or self.user_id or ""


_decoder = msgspec.json.Decoder(_Review)


def parse(line: bytes) -> tuple[str, ...]:
    """Split a line into user, item and time. Raises UnreadableLine."""
    review = read_object(line, _decoder, _Review)
    time = review.timestamp if review.unixReviewTime is None else review.unixReviewTime
    return review.user, review.parent_asin or review.asin or "", "" if time is None else str(time)


def _is_review(line: str) -> bool:
    try:
        user, item, time = parse(line.encode())
    except UnreadableLine:
        return False
    return bool(user and item and time)


def _is_header(line: str) -> bool:
    names = header_of(line)
    return all(any(alias in names for alias in aliases) for aliases in ALIASES.values())


def converter() -> Convert:
    """The conversion of one file; repeated reviews are found when it is grouped by item or by user."""
    by_item = Repeats("item_id", "session_id", "event_time_ms")
    by_user = Repeats("session_id", "item_id", "event_time_ms")
    return lambda chunk: convert(chunk, by_item, by_user)


def convert(chunk: pd.DataFrame, by_item: Repeats, by_user: Repeats) -> Converted:
    """Convert a chunk of text columns to events."""
    times = number(chunk["time"])
    events = pd.DataFrame(
        {
            "session_id": chunk["user"],
            "item_id": chunk["item"],
            "event_time_ms": whole_ms(times.where(times >= LEAST_MS, times * 1000)),
            "kind": "purchase",
            "user_id": chunk["user"],
        }
    )
    broken = reasons(
        chunk.index,
        (chunk["user"] == "", "no user"),
        (chunk["item"] == "", "no asin"),
        (times.isna(), "the time is no number"),
    )
    whole = broken == ""
    repeated = by_item(events, whole) | by_user(events, whole)
    return Converted(events, broken, reasons(chunk.index, (repeated, "duplicate")))


REVIEWS = Format(
    "amazon", ", ", COLUMNS, False, _is_review, converter, family="amazon", parse=parse, aliases=ALIASES
)
REVIEWS_CSV = Format(
    "amazon-csv", ",", COLUMNS, True, _is_header, converter, family="amazon", aliases=ALIASES
)
# Files that have ratings only have no header; in 2018 the item comes first.
RATINGS = Format(
    "amazon-ratings",
    ",",
    RATING_COLUMNS,
    False,
    lambda line: bool(RATING_LINE.match(line)),
    converter,
    family="amazon",
)
RATINGS_2018 = Format(
    "amazon-ratings-2018",
    ",",
    ("item", "user", "rating", "time"),
    False,
    lambda line: bool(RATING_LINE_2018.match(line)),
    converter,
    family="amazon",
)
