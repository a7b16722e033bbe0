"""Columns named by their roles, as events: ids, times, kinds and sessions as the mapping says.

A missing kind is the mapping's default kind; common names of kinds are known. Where a log has no sessions
the session is the user ("user", and "gap", where the model's session gap ends it) or a day of the user.

Tested by tests/unit/replay/mappings/test_mapped_files.py and tests/cases/test_values.py.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from replay.mappings.event_times import days_of, in_zone, said_times
from replay.reading.format import Converted, is_empty, reasons, same_text, whole_ms
from replay.reading.time_evidence import resolve
from replay.reading.times import TimeUnit
from replay.reading.values import UNCLEAR_PRICE, float_ids, given_text, ids_of, one_of, price_of
from stream.events import COMMON_KINDS, NOT_LEARNED
from stream.log_mapping import LEFT_OUT, LogMapping

USUAL = LogMapping({"session": "session", "item": "item", "time": "time"})
NO_ITEM = "the item is empty"
OTHER_KIND, NO_KIND = "other kind of event", "left out by its kind"
# How a file holds its times when its types say so: as numbers of milliseconds, in UTC or without a zone.
MS, NAIVE_MS = "ms", "naive ms"


def convert(
    chunk: pd.DataFrame, mapping: LogMapping = USUAL, *, held_as: str = "", unit: TimeUnit | None = None
) -> Converted:
    """Convert text columns, named by their roles, to events.

    `held_as` says how the file's types hold times, `unit` the unit that was seen in the file.
    """
    times = _times(chunk["time"], mapping, held_as, unit)
    sessions, is_session = _sessions(chunk, times, mapping)
    events = {"session_id": sessions, "item_id": ids_of(chunk["item"]), "event_time_ms": whole_ms(times)}
    kind = events["kind"] = _kinds(chunk, mapping)
    if (other := ~one_of(kind, ("view", "cart", "purchase", "session_end"))).any():
        events["kind"] = kind.mask(other, "view")
    broken = [
        (times.isna(), "the time is none"),
        (is_empty(chunk["item"]) & ~one_of(kind, ("session_end", NO_KIND)), NO_ITEM),
    ]
    if "user" in chunk:
        events["user_id"] = given_text(ids_of(chunk["user"]))
    if "price" in chunk:
        events["price"], no_price, unclear = price_of(chunk["price"], mapping.files.decimal)
        broken += [(no_price, "the price is no number"), (unclear, UNCLEAR_PRICE)]
    # Brands and categories are ids as often as names.
    events |= {name: given_text(ids_of(chunk[name])) for name in ("brand", "category") if name in chunk}
    if "title" in chunk:
        events["title"] = given_text(chunk["title"])
    frame = pd.DataFrame(events)
    left_out = reasons(
        chunk.index,
        (~is_session, "no session" if mapping.sessions == "column" else "no user"),
        (kind == OTHER_KIND, OTHER_KIND),
        (kind == NO_KIND, NO_KIND),
    )
    # A column that the file lacks is not a column of its events.
    frame = frame.drop(columns=[name for name in frame.columns[4:] if frame[name].isna().all()])
    floats = float_ids(*(chunk[role] for role in ("session", "item", "user") if role in chunk))
    return Converted(frame, reasons(chunk.index, *broken), left_out, floats)


def _times(
    texts: pd.Series[str], mapping: LogMapping, held_as: str, unit: TimeUnit | None
) -> pd.Series[float]:
    if held_as == NAIVE_MS:
        return in_zone(TimeUnit("ms").to_ms(texts), mapping.time_zone)
    if held_as == MS:
        return TimeUnit("ms").to_ms(texts)
    if mapping.time_unit:
        return said_times(texts, mapping.time_unit, mapping.time_zone)
    return replace(unit or resolve(texts), zone=mapping.time_zone).to_ms(texts)


def _sessions(
    chunk: pd.DataFrame, times: pd.Series[float], mapping: LogMapping
) -> tuple[pd.Series[str], pd.Series[bool]]:
    """The session of each row, and whether it has one."""
    column = chunk["session" if mapping.sessions == "column" else "user"]
    ids = ids_of(column)
    if mapping.sessions == "column":
        return ids, ~is_empty(column)
    is_user = given_text(ids).notna()
    if mapping.sessions == "day":
        ids = ids.str.cat(days_of(times, mapping.time_zone), sep="|")
    return ids, is_user


def _kinds(chunk: pd.DataFrame, mapping: LogMapping) -> pd.Series[str]:
    """The kind of each row, OTHER_KIND or NO_KIND."""
    if "kind" not in chunk:
        return same_text(mapping.default_kind, chunk.index)
    codes, values = pd.factorize(given_text(ids_of(chunk["kind"])))
    known = {**COMMON_KINDS, **{value.casefold(): kind for value, kind in mapping.kinds.items()}}
    texts = [str(value).strip() for value in values]
    found = [mapping.kinds.get(text, known.get(text.casefold(), OTHER_KIND)) for text in texts]
    # A file is read to learn or to be replayed.
    kinds = [NO_KIND if kind in (LEFT_OUT, *NOT_LEARNED) else kind for kind in found]
    # A missing value has the code -1.
    return pd.Series(pd.array([*kinds, mapping.default_kind], "str")[codes], chunk.index)
