"""Files of any layout, by the names of their columns: CSV, JSON lines and Parquet.

Times are ISO texts (UTC without a zone) or numbers since 1970, whose size gives the unit: seconds,
milliseconds, microseconds or nanoseconds; days written as 20231114 are days. In a column whose name ends
in _ms numbers are milliseconds whatever their size. A missing kind is a view; common names of kinds are
known.

Tested by tests/unit/replay/datasets/test_published_formats.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from model.errors import NextclickError
from replay.reading.delimited import header_of
from replay.reading.format import (
    MILLISECONDS,
    Convert,
    Converted,
    Format,
    UnreadableLine,
    epoch_ms,
    number,
    reasons,
    whole_ms,
)
from replay.reading.packed_files import first_line
from replay.reading.parquet import is_parquet, parquet_names
from replay.reading.values import given_text, ids_of, in_ms, price_of

REQUIRED = ("session", "item", "time")
OPTIONAL = ("kind", "user", "price", "brand", "category", "title")
KNOWN = {
    "session": ("session_id", "SessionId", "sessionId", "user_session", "session", "visitorid"),
    "item": ("item_id", "ItemId", "itemId", "product_id", "itemid", "item"),
    "time": ("event_time_ms", "timestamp_ms", "event_time", "timestamp", "time", "Time", "ts"),
    "kind": ("kind", "event_type", "event", "action"),
    "user": ("user_id", "userId", "UserId", "user"),
    "price": ("price",),
    "brand": ("brand",),
    "category": ("category", "category_code"),
    "title": ("title", "item_title", "product_title"),
}
KINDS = {
    "": "view",
    "view": "view",
    "click": "view",
    "clicks": "view",
    "cart": "cart",
    "carts": "cart",
    "addtocart": "cart",
    "add_to_cart": "cart",
    "purchase": "purchase",
    "buy": "purchase",
    "order": "purchase",
    "orders": "purchase",
    "transaction": "purchase",
    "session_end": "session_end",
}
DELIMITERS = (",", "\t", ";", "|")
LEAST_MS_DIGITS = 12
# Days written as numbers.
FIRST_DAY, LAST_DAY = 19_000_101, 21_001_231


def convert(chunk: pd.DataFrame, *, milliseconds: bool = False) -> Converted:
    """Convert text columns, named by their roles, to events; `milliseconds`: the unit of numeric times."""
    kind = given_text(chunk["kind"]).fillna("").str.lower().map(KINDS)
    price, no_price = price_of(chunk["price"])
    times = times_ms(chunk["time"], milliseconds=milliseconds)
    events = pd.DataFrame(
        {
            "session_id": ids_of(chunk["session"]),
            "item_id": ids_of(chunk["item"]),
            "event_time_ms": whole_ms(times),
            "kind": kind.fillna("view"),
            "user_id": given_text(ids_of(chunk["user"])),
            "price": price,
            **{name: given_text(chunk[name]) for name in ("brand", "category", "title")},
        }
    )
    empty = (chunk["item"] == "") & (kind != "session_end")
    broken = reasons(
        chunk.index,
        (times.isna(), "the time is none"),
        (empty, "the item is empty"),
        (no_price, "the price is no number"),
    )
    left_out = reasons(
        chunk.index,
        (chunk["session"] == "", "no session"),
        (kind.isna(), "other kind of event"),
    )
    # A column that the file lacks is not a column of its events.
    events = events.drop(columns=[name for name in events.columns[4:] if events[name].isna().all()])
    return Converted(events, broken, left_out)


def times_ms(texts: pd.Series[str], *, milliseconds: bool = False) -> pd.Series[float]:
    """Epoch milliseconds of numbers or ISO texts; NaN for other texts.

    >>> times_ms(pd.Series(["1", "1970-01-01T00:00:02Z", "soon"])).tolist()
    [1000.0, 2000.0, nan]
    """
    numbers = number(texts)
    if not milliseconds and (dates := _dates(texts, numbers)) is not None:
        return dates
    found = numbers * 1.0 if milliseconds else in_ms(numbers)
    words = numbers.isna()
    if words.any():
        plain = texts[words].str.removesuffix(" UTC")
        moments = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce")
        found[words] = epoch_ms(moments).astype("float64").where(moments.notna(), np.nan)
    return found


def _dates(texts: pd.Series[str], numbers: pd.Series[float]) -> pd.Series[float] | None:
    """Epoch milliseconds of days written as numbers, 20231114; None where fewer than half of them are days.

    As seconds they would all lie in August 1970. NaN where a number among days is none.
    """
    known = numbers.notna()
    if 2 * numbers.between(FIRST_DAY, LAST_DAY).sum() < max(1, int(known.sum())):
        return None
    plain = texts.str.strip().str.replace(r"\.0+$", "", regex=True)
    days = pd.to_datetime(plain, format="%Y%m%d", utc=True, errors="coerce")
    if 2 * days.notna().sum() < known.sum():
        return None
    return epoch_ms(days).astype("float64").where(days.notna(), np.nan)


def _converter(*, milliseconds: bool = False) -> Convert:
    return partial(convert, milliseconds=milliseconds)


def aliased(names: list[str]) -> dict[str, str] | None:
    """The known column name of each role; None when session, item or time is not among them."""
    found = {role: next((name for name in known if name in names), None) for role, known in KNOWN.items()}
    chosen = {role: name for role, name in found.items() if name is not None}
    return chosen if all(role in chosen for role in REQUIRED) else None


def parse_columns(text: str) -> dict[str, str]:
    """The column of each role. Raises NextclickError when a needed role is missing.

    >>> parse_columns("session=sid,item=pid,time=ts")
    {'session': 'sid', 'item': 'pid', 'time': 'ts'}
    """
    pairs = [part.partition("=") for part in text.split(",")]
    named = {role.strip(): name.strip() for role, _, name in pairs}
    wrong = [role for role in named if role not in (*REQUIRED, *OPTIONAL) or not named[role]]
    absent = [role for role in REQUIRED if role not in named]
    if wrong or absent or len(named) < len(pairs):
        raise NextclickError(
            f"--columns {text!r} does not say which column is what"
            + (f": {', '.join(absent)} is missing" if absent else ""),
            f"session, item and time are needed; {', '.join(OPTIONAL)} may be named.",
            "Write it as --columns session=visitor,item=sku,time=clicked_at",
        )
    return named


def format_of(path: Path, named: Mapping[str, str]) -> Format:
    """The format of a file, given the column of each role. Raises NextclickError when one is absent."""
    roles = tuple(named)
    if is_parquet(path):
        present, form = parquet_names(path), _format("parquet", roles, named, parquet=True)
    else:
        line = first_line(path)
        if line.startswith("{"):
            return _json_format("json-lines", {role: (name,) for role, name in named.items()})
        headers = {delimiter: header_of(line, delimiter) for delimiter in DELIMITERS}
        delimiter = max(headers, key=lambda one: sum(name in headers[one] for name in named.values()))
        present, form = headers[delimiter], _format("delimited", roles, named, delimiter=delimiter)
    absent = [name for name in named.values() if name not in present]
    if absent:
        raise NextclickError(
            f"{path} has no column {', '.join(absent)}",
            f"It has {', '.join(present)}.",
            "Name its own columns with --columns.",
        )
    return form


def _format(
    name: str,
    roles: tuple[str, ...],
    named: Mapping[str, str],
    *,
    delimiter: str = ",",
    parquet: bool = False,
) -> Format:
    every = (*roles, *(role for role in KNOWN if role not in roles))
    aliases = {role: (named[role],) if role in named else () for role in every}
    optional = tuple(role for role in every if role not in named)
    return Format(
        name,
        delimiter,
        every,
        True,
        lambda line: False,
        partial(_converter, milliseconds=named["time"].endswith(MILLISECONDS)),
        aliases=aliases,
        optional=optional,
        parquet=parquet,
    )


def _json_format(name: str, names: Mapping[str, tuple[str, ...]]) -> Format:
    roles = tuple(KNOWN)
    time_index = roles.index("time")

    def parse(line: bytes) -> tuple[str, ...]:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            record = _with_not_a_number(line)
        if not isinstance(record, dict):
            raise UnreadableLine("no JSON object")
        texts = [_text(record, names.get(role, ())) for role in roles]
        if len(texts[time_index]) < LEAST_MS_DIGITS and _time_name(record, names).endswith(MILLISECONDS):
            texts[time_index] = _iso_text(texts[time_index])
        return tuple(texts)

    def matches(line: str) -> bool:
        try:
            session, item, time, kind, *_ = parse(line.encode())
        except UnreadableLine:
            return False
        return bool(session and time and (item or kind))

    return Format(name, ", ", roles, False, matches, _converter, parse=parse, aliases=dict(names))


def _with_not_a_number(line: bytes) -> object:
    """A line of JSON with NaN, which JSON lacks and Python writes. Raises UnreadableLine for other lines."""
    if b"NaN" not in line:
        raise UnreadableLine("no JSON")
    try:
        return json.loads(line, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        raise UnreadableLine("no JSON") from None


def _text(record: Mapping[str, object], names: tuple[str, ...]) -> str:
    value = next((record[name] for name in names if name in record), None)
    if value is None:
        return ""
    if isinstance(value, (dict, list, bool)):
        raise UnreadableLine(f"{names[0]} is neither text nor a number")
    return str(value)


def _time_name(record: Mapping[str, object], names: Mapping[str, tuple[str, ...]]) -> str:
    return next((name for name in names["time"] if name in record), "")


def _iso_text(milliseconds: str) -> str:
    """Milliseconds so small that they would be read as seconds, as an ISO text instead."""
    try:
        return str(np.datetime64(int(float(milliseconds)), "ms"))
    except (ValueError, OverflowError):
        return milliseconds


JSON_LINES = _json_format("json-lines", KNOWN)
PARQUET = Format(
    "parquet",
    ",",
    tuple(KNOWN),
    True,
    lambda line: False,
    _converter,
    aliases=KNOWN,
    optional=OPTIONAL,
    parquet=True,
)
