"""The events of a record that may hold several, and whose key and sessions may be anything.

Of `events[].aid` every element makes an event; columns without `[]` are the same for all of them. Where a
log has users and no sessions, a session is a user (the worker's silence ends it) or a user's day.

Tested by tests/unit/stream/ingest/test_listed_events.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from model.errors import NextclickError
from stream.event_decoder import Headers
from stream.events import Event, LeftOutRecord, RejectedEvent
from stream.ingest.column_paths import EVERY, Path, first_value, value_at
from stream.ingest.event_values import EventMaker
from stream.ingest.json_values import JsonValues
from stream.ingest.mapped_decoder import MAX_RECORD_BYTES, of_record, role_columns
from stream.ingest.registry_schemas import SchemaRegistry
from stream.ingest.registry_values import RegistryValues
from stream.log_mapping import LogMapping


class ListedEvents:
    """Makes the events of records, as `mapping` says.

    >>> mapping = LogMapping({"session": "s", "item": "clicks[].aid", "time": "clicks[].ts"})
    >>> value = b'{"s": 1, "clicks": [{"aid": 7, "ts": 1396867869277}, {"aid": 8, "ts": 1396867870277}]}'
    >>> [event.item_id for event in ListedEvents(mapping).events(value)]
    ['7', '8']
    """

    def __init__(self, mapping: LogMapping, registry: SchemaRegistry | None = None) -> None:
        """Raises NextclickError for events of several lists, and for sessions that never end."""
        self._paths, self._of_record = role_columns(mapping)
        self._list = _list_of(self._paths)
        if mapping.sessions == "user":
            raise _unusable("its sessions are all of a user (user)", "The worker ends sessions by silence.")
        self._zone = ZoneInfo(mapping.time_zone) if mapping.sessions == "day" else None
        self._maker = EventMaker(mapping)
        # A list is read whole; its places are filled in for each of its elements.
        paths = self._paths if self._list is None else [[(*self._list, 0)]]
        self._values: JsonValues | RegistryValues = (
            JsonValues(paths) if registry is None else RegistryValues(paths, registry)
        )

    def events(
        self,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> list[Event]:
        """The events in order, at least one. Raises RejectedEvent, LeftOutRecord where there is none."""
        if not value:
            raise RejectedEvent("empty")
        if len(value) > MAX_RECORD_BYTES:
            raise RejectedEvent("too_large")
        found: list[Event] = []
        reason = "no_item"
        for raw in self._raw(value):
            for role, column in self._of_record:
                if raw[role] is None:
                    raw[role] = of_record(column, key, timestamp_ms, headers)
            try:
                found.append(self._with_day(self._maker.event(raw)))
            except LeftOutRecord as left_out:
                reason = left_out.reason
        if not found:
            raise LeftOutRecord(reason)
        return found

    def _raw(self, value: bytes) -> list[list[Any]]:
        if self._list is None:
            return [self._values.read(value)]
        record = self._values.record(value)
        elements = value_at(record, self._list) if self._list else record
        count = len(elements) if isinstance(elements, list) else 0
        return [
            [first_value(record, [_at(path, place) for path in several]) for several in self._paths]
            for place in range(count)
        ]

    def _with_day(self, event: Event) -> Event:
        if self._zone is None:
            return event
        day = datetime.fromtimestamp(event.event_time_ms // 1000, UTC).astimezone(self._zone).date()
        return msgspec.structs.replace(event, session_id=f"{event.session_id}|{day}")


def _list_of(paths: list[list[Path]]) -> Path | None:
    """The path of the list whose elements are events; None where a record is one event."""
    found = {path[: path.index(EVERY)] for several in paths for path in several if EVERY in path}
    twice = any(path.count(EVERY) > 1 for several in paths for path in several)
    if len(found) > 1 or twice:
        raise _unusable("its columns are of several lists", "It is not known which elements belong together.")
    return found.pop() if found else None


def _at(path: Path, place: int) -> Path:
    return tuple(place if step == EVERY else step for step in path)


def _unusable(why: str, meaning: str) -> NextclickError:
    return NextclickError(
        f"the topic cannot be ingested by this mapping: {why}",
        f"{meaning} Nothing was read.",
        "Correct the mapping: deploy/docs/own_topic.md says what can be ingested.",
    )
