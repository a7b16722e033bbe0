"""Event frames as keys, values and timestamps for a producer, column by column.

Key = session id, value = the event as JSON, timestamp = event time. The values equal the bytes of
`stream.events.encode_event`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from replay.reading.format import null_if_empty, texts_of
from stream.events import LEAST_MESSAGE_TIME_MS, OPTIONAL_FIELDS, Event, encode_event

# The encoder leaves a default out only when it is the same object as in the schema.
KINDS = {kind: kind for kind in ("view", "cart", "purchase", "session_end")}
KIND_MEMBERS = ["", *(f',"kind":"{kind}"' for kind in KINDS if kind != "view")]
TEXTS = ("session_id", "item_id", *(name for name in OPTIONAL_FIELDS if name != "price"))
# In this range Arrow and the schema's encoder write fractions alike.
PLAIN_FROM, PLAIN_BELOW = 1e-3, 1e7
# Characters that JSON escapes.
ESCAPED = r'[\x00-\x1f"\\]'


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Encoded events in order: three lists of one length.

    `times_ms` are the timestamps of the messages: the event times, with 0 raised to 1.
    """

    keys: list[bytes]
    values: list[bytes]
    times_ms: list[int]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> EncodedEvents:
        """The events of a batch that `encode` made."""
        keys, values, times_ms = batch.columns
        return cls(_objects_of(keys), _objects_of(values), _objects_of(times_ms))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice) -> EncodedEvents:
        return EncodedEvents(self.keys[rows], self.values[rows], self.times_ms[rows])

    def take(self, rows: list[int]) -> EncodedEvents:
        """The events of these rows, in the given order."""
        return EncodedEvents(
            [self.keys[row] for row in rows],
            [self.values[row] for row in rows],
            [self.times_ms[row] for row in rows],
        )

    def records(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and timestamp of each event."""
        return zip(self.keys, self.values, self.times_ms, strict=True)


def events_of(frame: pd.DataFrame) -> Iterator[Event]:
    """The rows of an event frame as events; missing values stay absent."""
    return map(
        Event,
        _objects(frame["session_id"]),
        frame["event_time_ms"].tolist(),
        _objects(frame["item_id"]),
        map(KINDS.__getitem__, frame["kind"].tolist()),
        *(_objects(frame[name]) if name in frame else repeat(None) for name in OPTIONAL_FIELDS),
    )


def encode(frame: pd.DataFrame) -> pa.RecordBatch:
    """An event frame as columns of keys, values and timestamps; see EncodedEvents.of.

    Arrow joins the values from their columns; only a row with a character that JSON escapes goes
    through the schema's encoder. Raises KeyError at a kind that the schema does not know.

    >>> frame = pd.DataFrame(
    ...     {"session_id": ["s"], "item_id": ["i"], "event_time_ms": [7], "kind": ["cart"]}
    ... )
    >>> EncodedEvents.of(encode(frame)).values
    [b'{"session_id":"s","event_time_ms":7,"item_id":"i","kind":"cart"}']
    """
    times_ms = pa.array(frame["event_time_ms"].to_numpy(np.int64))
    texts = {name: texts_of(frame[name]) for name in TEXTS if name in frame}
    session = texts["session_id"]
    members: list[Any] = ['{"session_id":"', session, '","event_time_ms":', times_ms.cast(pa.large_string())]
    members += _member("item_id", null_if_empty(texts["item_id"]))
    members.append(_kinds(frame["kind"]))
    for name in OPTIONAL_FIELDS:
        if name == "price" and name in frame:
            members += _member(name, _prices(frame["price"].to_numpy(np.float64)), quote="")
        elif name in texts:
            members += _member(name, texts[name])
    values = _joined(*members, "}").cast(pa.large_binary())
    rows = _escaped_rows(list(texts.values()))
    if len(rows):
        mask = np.zeros(len(frame), bool)
        mask[rows] = True
        encoded = [encode_event(event) for event in events_of(frame.iloc[rows])]
        values = pc.replace_with_mask(values, pa.array(mask), pa.array(encoded, pa.large_binary()))
    # A copy without the rest of a larger frame, as it may be sent to another process.
    keys = pa.concat_arrays([session, session[:0]]).cast(pa.large_binary())
    stamps = pc.max_element_wise(times_ms, LEAST_MESSAGE_TIME_MS)
    return pa.record_batch([keys, values, stamps], names=["key", "value", "time_ms"])


def _text_of(text: str | None) -> pa.LargeStringScalar:
    return pa.scalar(text, pa.large_string())


def _joined(*parts: str | pa.LargeStringArray) -> pa.LargeStringArray:
    """The parts of each row, joined; null where a part is null."""
    # The kernel needs texts of one type, and a plain literal has another.
    texts = [_text_of(part) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*texts, _text_of(""))


def _objects_of(column: pa.Array) -> list[Any]:
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found


def _member(name: str, texts: pa.LargeStringArray, quote: str = '"') -> list[str | pa.LargeStringArray]:
    """The parts of `,"name":"text"`; empty where the text is null."""
    parts = [f',"{name}":{quote}', texts, quote]
    return [pc.fill_null(_joined(*parts), _text_of(""))] if texts.null_count else parts


def _kinds(column: pd.Series[Any]) -> pa.LargeStringArray:
    places = pc.index_in(texts_of(column), value_set=pa.array(list(KINDS), pa.large_string()))
    if places.null_count:
        raise KeyError(column.iloc[places.is_null().to_numpy(zero_copy_only=False).argmax()])
    return pa.array(KIND_MEMBERS, pa.large_string()).take(places)


def _prices(prices: npt.NDArray[np.float64]) -> pa.LargeStringArray:
    """Each price as the schema's encoder writes it; null where it is missing."""
    missing, size = np.isnan(prices), np.abs(prices)
    usual = (size < PLAIN_BELOW) & ((size >= PLAIN_FROM) | (size == 0))
    texts = pa.array(prices).cast(pa.large_string())
    # Arrow writes whole numbers without a fraction.
    whole = pa.array(prices == np.floor(prices))
    texts = pc.replace_with_mask(texts, whole, _joined(texts.filter(whole), ".0"))
    others = ~usual & ~missing
    if others.any():
        encoded = [msgspec.json.encode(price).decode() for price in prices[others].tolist()]
        texts = pc.replace_with_mask(texts, pa.array(others), pa.array(encoded, pa.large_string()))
    return pc.if_else(pa.array(missing), _text_of(None), texts) if missing.any() else texts


def _escaped_rows(columns: list[pa.LargeStringArray]) -> npt.NDArray[np.int64]:
    """The rows in which a text has a character that JSON escapes."""
    rows = [np.empty(0, np.int64)]
    for texts in columns:
        # Most logs have none: check all characters at once first.
        _, offsets, data = texts.buffers()
        if data is None or not len(texts):
            continue
        begin, end = np.frombuffer(offsets, np.int64)[[texts.offset, texts.offset + len(texts)]]
        characters = np.frombuffer(data, np.uint8)[begin:end]
        if ((characters < 0x20) | (characters == ord('"')) | (characters == ord("\\"))).any():
            found = pc.fill_null(pc.match_substring_regex(texts, ESCAPED), False)
            rows.append(np.flatnonzero(found.to_numpy(zero_copy_only=False)))
    return np.unique(np.concatenate(rows))


def _objects(column: pd.Series[Any]) -> list[Any]:
    """The values of a column as Python objects; None where one is missing."""
    if isinstance(column.dtype, pd.StringDtype):
        return _objects_of(pa.array(column))
    objects: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return objects
