"""Decodes a topic of one's own by a mapping: any JSON, the key, the time and the headers of a record.

Tested by tests/unit/stream/ingest/test_mapped_events.py.
"""

from __future__ import annotations

from typing import Any

from model.errors import NextclickError
from stream.event_decoder import Headers
from stream.events import Event, RejectedEvent
from stream.ingest.column_paths import EVERY, Path, paths_of
from stream.ingest.event_times import EPOCH, MILLISECOND
from stream.ingest.event_values import EventMaker
from stream.ingest.json_values import JsonValues
from stream.ingest.registry_schemas import SchemaRegistry
from stream.ingest.registry_values import RegistryValues
from stream.log_mapping import ROLES, Column, LogMapping

# Brokers take 1 MiB unless told otherwise.
MAX_RECORD_BYTES = 1 << 20
KIND = ROLES.index("kind")
KEY, TIMESTAMP, HEADER = "@key", "@timestamp", "@header."


class MappedDecoder:
    """The events of records, as `mapping` says.

    >>> mapping = LogMapping({"session": "@key", "item": "product.sku", "time": "@timestamp"})
    >>> MappedDecoder(mapping).decode(b'{"product": {"sku": 7}}', b"a session", 1_396_867_869_277).item_id
    '7'
    """

    def __init__(self, mapping: LogMapping, registry: SchemaRegistry | None = None) -> None:
        """`registry` has the schemas of records that name one; without it they are JSON.

        Raises NextclickError for a mapping that a topic cannot be read by, record by record."""
        paths, self._of_record = role_columns(mapping)
        check_direct(mapping, paths)
        self.session_gap_s = mapping.session_gap_s
        self.reads_record = any(column != KEY for _, column in self._of_record)
        self._values: JsonValues | RegistryValues = (
            JsonValues(paths) if registry is None else RegistryValues(paths, registry)
        )
        self._maker = EventMaker(mapping)

    def decode(
        self,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> Event:
        """The event. Raises RejectedEvent with its reason, LeftOutRecord for a record that is none."""
        if not value:
            raise RejectedEvent("empty")
        if len(value) > MAX_RECORD_BYTES:
            raise RejectedEvent("too_large")
        try:
            raw = self._values.read(value)
        except RejectedEvent:
            # Records of other kinds may have other values at the same places.
            kind = self._values.read_role(value, KIND)
            for role, column in self._of_record:
                if role == KIND and kind is None:
                    kind = of_record(column, key, timestamp_ms, headers)
            self._maker.kind(kind)
            raise
        for role, column in self._of_record:
            if raw[role] is None:
                raw[role] = of_record(column, key, timestamp_ms, headers)
        event = self._maker.event(raw)
        check_key(event, key)
        return event


def check_key(event: Event, key: bytes | None) -> None:
    """Raises RejectedEvent when the key of a record is not its session."""
    try:
        session = event.session_id.encode()
    except UnicodeError:
        raise RejectedEvent("not_json") from None
    if key is not None and key != session:
        raise RejectedEvent("key_mismatch")


def role_columns(mapping: LogMapping) -> tuple[list[list[Path]], list[tuple[int, str]]]:
    """By role its paths in the values, and roles with what of the record stands in where a value has none.

    Raises NextclickError for a column that is neither.
    """
    paths: list[list[Path]] = []
    of_records: list[tuple[int, str]] = []
    for number, role in enumerate(ROLES):
        # Where sessions are a user's, the worker's silence ends them: a session has its user's name.
        of_user = role == "session" and mapping.sessions != "column"
        column: Column | None = mapping.column("user" if of_user else role)
        in_value: list[str] = []
        for one in column.split("|") if isinstance(column, str) else ():
            if not one.startswith("@"):
                in_value.append(one)
            elif one in (KEY, TIMESTAMP) or (one.startswith(HEADER) and one != HEADER):
                of_records.append((number, one))
            else:
                raise NextclickError(
                    f"the column of {role}, {one!r}, is nothing that a record has",
                    "Nothing was read.",
                    f"Of a record there are {KEY}, {TIMESTAMP} and {HEADER}NAME.",
                )
        if isinstance(column, int):
            paths.append(paths_of(column, role))
        else:
            paths.append(paths_of("|".join(in_value), role) if in_value else [])
    return paths, of_records


def of_record(column: str, key: bytes | None, timestamp_ms: int | None, headers: Headers) -> Any:
    """The value of a column of the record itself; None where the record lacks it. Raises RejectedEvent."""
    if column == TIMESTAMP:
        # A moment: the unit of the mapping is of the times in values.
        try:
            return None if timestamp_ms is None else EPOCH + timestamp_ms * MILLISECOND
        except OverflowError:
            # A producer's unit is not the millisecond.
            raise RejectedEvent("schema") from None
    if column == KEY:
        raw: Any = key
    else:
        name = column.removeprefix(HEADER)
        raw = next((value for header, value in reversed(headers) if header == name), None)
    if isinstance(raw, bytes):
        try:
            return raw.decode()
        except UnicodeError:
            raise RejectedEvent("schema") from None
    return raw


def check_direct(mapping: LogMapping, paths: list[list[Path]]) -> None:
    """Raises NextclickError for a mapping by which records cannot be read one by one, where they lie."""
    if any(EVERY in path for several in paths for path in several):
        raise _needs_ingest("a record holds a list of events", "An offset counts for one event.")
    if mapping.sessions in ("day", "user"):
        raise _needs_ingest(
            f"its sessions are users' days, or all of a user ({mapping.sessions})",
            "A record's key must be its session, and a session ends by silence.",
        )
    if mapping.files.container not in ("", "json", "json-lines"):
        raise NextclickError(
            f"a topic's records are not {mapping.files.container}",
            "Nothing was read.",
            "Leave `container` out of the mapping: records are JSON.",
        )


def _needs_ingest(why: str, meaning: str) -> NextclickError:
    return NextclickError(
        f"the topic cannot be read directly by this mapping: {why}",
        f"{meaning} Nothing was read.",
        "Map it into the events topic: `nextclick ingest` does, see deploy/docs/own_topic.md.",
    )
