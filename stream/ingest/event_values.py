"""Makes an event of the raw values of a record's roles, as a mapping says what they mean.

A record whose kind is mapped to nothing, or that names no item, is left out; one that lacks what an event
needs, or whose values are of no use, is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from stream.events import COMMON_KINDS, ENDINGS, MAX_EVENT_TIME_MS, Event, Kind, LeftOutRecord, RejectedEvent
from stream.ingest.event_times import EventTimes
from stream.log_mapping import LEFT_OUT, LogMapping

MOST_ID_CHARACTERS = 256
MOST_TEXT_CHARACTERS = 8192
Raw = Sequence[Any]


class EventMaker:
    """Events of the raw values of ROLES, in their order; None for what a record lacks.

    >>> mapping = LogMapping({"session": "s", "item": "i", "time": "t"}, time_unit="s")
    >>> event = EventMaker(mapping).event(["a session", 17, 1_396_867_869, *[None] * 6])
    >>> event.item_id, event.event_time_ms, event.kind
    ('17', 1396867869000, 'view')
    """

    def __init__(self, mapping: LogMapping) -> None:
        self._times = EventTimes(mapping.time_unit, mapping.time_zone)
        # As files are read: a value as it stands first, then in any case.
        self._kinds = dict(mapping.kinds)
        self._folded = {**COMMON_KINDS, **{value.casefold(): kind for value, kind in mapping.kinds.items()}}
        self._default_kind: Any = mapping.default_kind
        self._decimal = mapping.files.decimal

    def event(self, raw: Raw) -> Event:
        """The event. Raises LeftOutRecord and RejectedEvent with the reason."""
        session, item, time, kind, user, price, brand, category, title = raw
        found = self._default_kind if kind is None else self.kind(kind)
        if type(item) is not str:
            item = text_of(item)
        if not item and found not in ENDINGS:
            raise LeftOutRecord("no_item")
        if type(session) is not str:
            session = text_of(session)
        if not session or len(session) > MOST_ID_CHARACTERS or len(item) > MOST_ID_CHARACTERS:
            raise RejectedEvent("schema")
        return Event(
            session,
            self.time_ms(time),
            item,
            found,
            None if user is None else _text(user, MOST_ID_CHARACTERS),
            None if price is None else self._price(price),
            None if brand is None else _text(brand, MOST_TEXT_CHARACTERS),
            None if category is None else _text(category, MOST_TEXT_CHARACTERS),
            None if title is None else _text(title, MOST_TEXT_CHARACTERS),
        )

    def kind(self, raw: object) -> Kind:
        """The kind that a value means. Raises LeftOutRecord for one that means none."""
        text = text_of(raw).strip()
        found = self._kinds.get(text)
        if found is None:
            found = self._folded.get(text.casefold(), LEFT_OUT) if text else self._default_kind
        if found == LEFT_OUT:
            raise LeftOutRecord("other_kind")
        return found  # type: ignore[return-value]

    def time_ms(self, raw: object) -> int:
        """Epoch milliseconds. Raises RejectedEvent for what is no time."""
        try:
            found = self._times.ms(raw)
        except (ValueError, OverflowError):
            raise RejectedEvent("schema") from None
        if not 0 <= found <= MAX_EVENT_TIME_MS:
            raise RejectedEvent("schema")
        return found

    def _price(self, raw: object) -> float | None:
        if type(raw) is float and math.isfinite(raw):
            return raw
        try:
            if isinstance(raw, str):
                text = raw.strip()
                if not text:
                    return None
                if self._decimal == ",":
                    text = text.replace(".", "").replace(",", ".")
                price = float(text)
            elif isinstance(raw, int | float | Decimal) and not isinstance(raw, bool):
                price = float(raw)
            else:
                raise RejectedEvent("schema")
        except (ValueError, OverflowError):
            raise RejectedEvent("schema") from None
        if not math.isfinite(price):
            raise RejectedEvent("schema")
        return price


def _text(raw: object, most: int) -> str | None:
    text = raw if type(raw) is str else text_of(raw)
    if len(text) > most:
        raise RejectedEvent("schema")
    return text or None


def text_of(raw: object) -> str:
    """A scalar as text; "" for None. Raises RejectedEvent for a record, a list or bytes that are no text.

    >>> text_of(17.0), text_of("17"), text_of(True)
    ('17', '17', 'true')
    """
    if type(raw) is str:
        return raw
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    if isinstance(raw, int | float | UUID):
        return str(raw)
    if isinstance(raw, Decimal):
        return format(raw, "f")
    if isinstance(raw, bytes):
        try:
            return raw.decode()
        except UnicodeError:
            pass
    raise RejectedEvent("schema")
