"""Records of `events` as columns: what windows are read into and archives are written from.

One row per record, whether it reads as an event or not: `reason` says why it does not. A
row gives back its record byte for byte where the columns were made to (`record_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from stream.events import Event, RejectedEvent, decode_event, encode_event

OPTIONAL = ("user_id", "price", "brand", "category", "title")
EVENT = ("session_id", "item_id", "event_time_ms", "kind", *OPTIONAL)
# 64-bit offsets: the texts of a window may exceed 2 GiB, and pandas has them so, too.
TEXT = pa.large_string()
TYPES = {"event_time_ms": pa.int64(), "price": pa.float64()}

COLUMNS = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        *(pa.field(name, TYPES.get(name, TEXT)) for name in EVENT),
        pa.field("reason", TEXT),
    ]
)
# With these a row is the whole record. The raw ones are set where the bytes do not follow from the event.
RECORD_COLUMNS = pa.schema(
    [
        *COLUMNS,
        pa.field("timestamp_ms", pa.int64()),
        pa.field("raw_key", pa.large_binary()),
        pa.field("raw_value", pa.large_binary()),
    ]
)


class Record(NamedTuple):
    """One record of a partition; `timestamp_ms` is the message's, None where it has none."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None


def event_columns(partition: int, records: Sequence[Record]) -> pa.Table:
    """Records of one partition → rows of COLUMNS."""
    return pa.table(_columns(partition, records, *_decode(records)), schema=COLUMNS)


def record_columns(partition: int, records: Sequence[Record]) -> pa.Table:
    """Records of one partition → rows of RECORD_COLUMNS, from which they come back byte for byte."""
    events, reasons = _decode(records)
    columns = _columns(partition, records, events, reasons)
    raw = [
        event is None or record.key != event.session_id.encode() or record.value != encode_event(event)
        for event, record in zip(events, records, strict=True)
    ]
    columns["timestamp_ms"] = [record.timestamp_ms for record in records]
    columns["raw_key"] = [record.key if kept else None for record, kept in zip(records, raw, strict=True)]
    columns["raw_value"] = [record.value if kept else None for record, kept in zip(records, raw, strict=True)]
    return pa.table(columns, schema=RECORD_COLUMNS)


def record_of(row: dict[str, Any]) -> Record:
    """The record of a row of RECORD_COLUMNS, byte for byte."""
    if row["reason"] is not None or row["raw_value"] is not None:
        return Record(row["offset"], row["raw_key"], row["raw_value"], row["timestamp_ms"])
    event = Event(**{name: row[name] for name in EVENT})
    return Record(row["offset"], event.session_id.encode(), encode_event(event), row["timestamp_ms"])


def _decode(records: Sequence[Record]) -> tuple[list[Event | None], list[str | None]]:
    """Each record's event, or the reason why it is none."""
    events: list[Event | None] = []
    reasons: list[str | None] = []
    for record in records:
        try:
            events.append(decode_event(record.value, record.key))
            reasons.append(None)
        except RejectedEvent as rejected:
            events.append(None)
            reasons.append(rejected.reason)
    return events, reasons


def _columns(
    partition: int,
    records: Sequence[Record],
    events: Sequence[Event | None],
    reasons: list[str | None],
) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "partition": [partition] * len(records),
        "offset": [record.offset for record in records],
        "session_id": [None if event is None else event.session_id for event in events],
        "item_id": [None if event is None else event.item_id for event in events],
        "event_time_ms": [None if event is None else event.event_time_ms for event in events],
        "kind": [None if event is None else event.kind for event in events],
        "reason": reasons,
    }
    for name in OPTIONAL:
        columns[name] = [getattr(event, name, None) for event in events]
    return columns
