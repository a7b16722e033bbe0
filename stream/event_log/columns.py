"""Records of `events` as columns, for windows and archives.

One row per record, whether it is an event or not: `reason` says why it is none. From a row of
RECORD_COLUMNS `record_of` restores the record byte for byte.

Tested by tests/unit/stream/event_log/test_window.py and tests/unit/stream/event_log/test_archive_folder.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from stream.event_decoder import OWN_EVENTS, EventDecoder, Headers
from stream.events import OPTIONAL_FIELDS, Event, RejectedEvent, encode_event

EVENT = ("session_id", "item_id", "event_time_ms", "kind", *OPTIONAL_FIELDS)
# 64-bit offsets: the texts of a window may exceed 2 GiB, and pandas uses them too.
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
# With these a row is the whole record: either its bytes follow from the event, or the raw ones are set.
RECORD_COLUMNS = pa.schema(
    [
        *COLUMNS,
        pa.field("timestamp_ms", pa.int64()),
        # Whether the JSON names the kind, which may be left out of a view.
        pa.field("names_kind", pa.bool_()),
        pa.field("raw_key", pa.large_binary()),
        pa.field("raw_value", pa.large_binary()),
    ]
)

_encoder = msgspec.json.Encoder()


class Record(NamedTuple):
    """One record of a partition; `timestamp_ms` is the message's, None where it has none.

    `headers` are there for the decoders that read them; an archive keeps what the decoder made of them.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None
    headers: Headers = ()


def record_of_message(message: Message) -> Record:
    """The record of a message of the events topic."""
    kind, timestamp_ms = message.timestamp()
    known_ms = None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms
    headers: Any = message.headers() or ()
    return Record(message.offset() or 0, message.key(), message.value(), known_ms, headers)


def event_columns(partition: int, records: Sequence[Record], decoder: EventDecoder = OWN_EVENTS) -> pa.Table:
    """Records of one partition as rows of COLUMNS."""
    return pa.table(_columns(partition, records, *_decode(records, decoder)), schema=COLUMNS)


def record_columns(partition: int, records: Sequence[Record], decoder: EventDecoder = OWN_EVENTS) -> pa.Table:
    """Records of one partition as rows of RECORD_COLUMNS, from which `record_of` restores them.

    >>> record = Record(7, b"s", b'{"session_id":"s","event_time_ms":5,"item_id":"i"}')
    >>> record_of(record_columns(0, [record]).to_pylist()[0]) == record
    True
    """
    events, reasons = _decode(records, decoder)
    columns = _columns(partition, records, events, reasons)
    encoded = [
        event is not None
        and record.key == event.session_id.encode()
        and record.value == (_with_kind if _names_kind(record) else encode_event)(event)
        for event, record in zip(events, records, strict=True)
    ]
    columns["timestamp_ms"] = [record.timestamp_ms for record in records]
    pairs = list(zip(records, encoded, strict=True))
    columns["names_kind"] = [_names_kind(record) if follows else None for record, follows in pairs]
    columns["raw_key"] = [None if follows else record.key for record, follows in pairs]
    columns["raw_value"] = [None if follows else record.value for record, follows in pairs]
    return pa.table(columns, schema=RECORD_COLUMNS)


def record_of(row: dict[str, Any]) -> Record:
    """The record of a row of RECORD_COLUMNS, byte for byte."""
    if row["names_kind"] is None:
        return Record(row["offset"], row["raw_key"], row["raw_value"], row["timestamp_ms"])
    # The JSON leaves a field out only if it has the default value itself.
    absent = {"item_id": ""} if row["names_kind"] else {"item_id": "", "kind": "view"}
    given = {name: row[name] for name in EVENT if row[name] is not None and row[name] != absent.get(name)}
    event = Event(**given)
    value = _with_kind(event) if row["names_kind"] else encode_event(event)
    return Record(row["offset"], event.session_id.encode(), value, row["timestamp_ms"])


class _EventWithKind(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """An event whose JSON always names the kind."""

    session_id: str
    event_time_ms: int
    item_id: str = ""
    kind: str
    user_id: str | None = None
    price: float | None = None
    brand: str | None = None
    category: str | None = None
    title: str | None = None


def _with_kind(event: Event) -> bytes:
    return _encoder.encode(_EventWithKind(**msgspec.structs.asdict(event)))


def _names_kind(record: Record) -> bool:
    return b'"kind":"' in (record.value or b"")


def _decode(records: Sequence[Record], decoder: EventDecoder) -> tuple[list[Event | None], list[str | None]]:
    """By record, its event or None, and the reason why it is none."""
    events: list[Event | None] = []
    reasons: list[str | None] = []
    for record in records:
        try:
            events.append(decoder.decode(record.value, record.key, record.timestamp_ms, record.headers))
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
    for name in OPTIONAL_FIELDS:
        columns[name] = [getattr(event, name, None) for event in events]
    return columns
