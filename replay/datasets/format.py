"""What an adapter is: how to know a file's format, and how its columns become events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

# The columns of an event frame; the first four are always there.
EVENT_COLUMNS = (
    "session_id",
    "item_id",
    "event_time_ms",
    "kind",
    "user_id",
    "price",
    "brand",
    "category",
    "title",
)


@dataclass(frozen=True)
class Converted:
    """Events of one chunk, in file order, with what was not taken.

    All three share the chunk's index. `broken` says why a row cannot be read ("" where it
    can), `left_out` why a readable row is no event (a return, an unknown kind).
    """

    events: pd.DataFrame
    broken: pd.Series[str]
    left_out: pd.Series[str]


@dataclass(frozen=True)
class Format:
    """One file format.

    `columns` are the header's names, or, where `header` is False, the names given to its
    fields; `matches` looks at the first line.
    """

    name: str
    delimiter: str
    columns: tuple[str, ...]
    header: bool
    matches: Callable[[str], bool]
    convert: Callable[[pd.DataFrame], Converted]


def reasons(index: pd.Index[int], *checks: tuple[pd.Series[bool], str]) -> pd.Series[str]:
    """The first reason whose mask is true, by row; "" where none is."""
    result = pd.Series("", index=index, dtype=object)
    for mask, reason in reversed(checks):
        result[mask.to_numpy(bool)] = reason
    return result


def whole_number(column: pd.Series[str]) -> pd.Series[float]:
    """Text → number, NaN where it is none."""
    return pd.to_numeric(column, errors="coerce")


def epoch_ms(moments: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    """UTC timestamps → epoch milliseconds; -1 where there is none."""
    known = moments.notna()
    values = moments.where(known, pd.Timestamp(0, tz="UTC"))
    milliseconds = values.astype("datetime64[ms, UTC]").astype("int64")
    return milliseconds.where(known, -1)


def text_or_none(column: pd.Series[str]) -> pd.Series[str]:
    """Empty text → None."""
    return column.where(column.notna() & (column != ""), None)
