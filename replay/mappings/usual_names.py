"""Columns that are known by the names that logs usually give them: in CSV, JSON lines and Parquet.

In a column whose name ends in _ms numbers are milliseconds whatever their size.

Tested by tests/unit/replay/datasets/test_published_formats.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from replay.mappings.json_records import decoded, text_of
from replay.mappings.role_columns import USUAL, convert
from replay.reading.format import MILLISECONDS, Convert, Format, UnreadableLine
from replay.reading.times import TimeUnit
from stream.log_mapping import OPTIONAL, REQUIRED, LogMapping
from stream.time_units import LEAST_MS

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
LEAST_MS_DIGITS = len(f"{LEAST_MS:.0f}")
MOST_LAYOUTS = 1000


def aliased(names: list[str]) -> dict[str, str] | None:
    """The known column name of each role; None when session, item or time is not among them.

    >>> aliased(["ts", "session", "item", "colour"])
    {'session': 'session', 'item': 'item', 'time': 'ts'}
    """
    found = {role: next((name for name in known if name in names), None) for role, known in KNOWN.items()}
    chosen = {role: name for role, name in found.items() if name is not None}
    return chosen if all(role in chosen for role in REQUIRED) else None


def usual_mapping(names: list[str]) -> LogMapping | None:
    """The mapping of a table whose columns have usual names; None where session, item or time has none."""
    columns = aliased(names)
    return None if columns is None else LogMapping(dict(columns))


def _json_format(name: str, names: Mapping[str, tuple[str, ...]]) -> Format:
    roles = tuple(KNOWN)
    time_index = roles.index("time")
    # The name of each role in records of the same names, which most of a file are.
    layouts: dict[tuple[object, ...], list[str | None]] = {}

    def parse(line: bytes) -> tuple[str, ...]:
        record = decoded(line)
        if not isinstance(record, dict):
            raise UnreadableLine("no JSON object")
        present = tuple(record)
        if (layout := layouts.get(present)) is None:
            if len(layouts) == MOST_LAYOUTS:
                layouts.clear()
            layout = layouts[present] = [_first_name(record, names.get(role, ())) for role in roles]
        texts = [
            "" if name is None else value if type(value := record[name]) is str else text_of(value, name)
            for name in layout
        ]
        if len(texts[time_index]) < LEAST_MS_DIGITS and _time_name(record, names).endswith(MILLISECONDS):
            texts[time_index] = _iso_text(texts[time_index])
        return tuple(texts)

    def matches(line: str) -> bool:
        try:
            session, item, time, kind, *_ = parse(line.encode())
        except UnreadableLine:
            return False
        return bool(session and time and (item or kind))

    return Format(
        name, ", ", roles, False, matches, _converter, parse=parse, aliases=dict(names), time_column="time"
    )


def _converter(unit: TimeUnit) -> Convert:
    return partial(convert, mapping=USUAL, unit=unit)


def _first_name(record: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in record), None)


def _time_name(record: Mapping[str, object], names: Mapping[str, tuple[str, ...]]) -> str:
    return _first_name(record, names["time"]) or ""


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
    time_column="time",
)
