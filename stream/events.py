"""The values on the topics: Event in, Recommendation out.

Decoding accepts what the schema allows and nothing else; whatever it refuses carries a
reason from a fixed set, so that rejected events can be counted without unbounded labels.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import msgspec
import orjson

# Year 2100: beyond it a time is a unit mistake (microseconds, nanoseconds), not a click.
MAX_EVENT_TIME_MS = 4_102_444_800_000
MAX_EVENT_BYTES = 64 * 1024
# The timestamp of an event's message is its time, but for 0, which librdkafka takes for now.
LEAST_MESSAGE_TIME_MS = 1

Kind = Literal["view", "cart", "purchase", "session_end"]
Id = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=8192)]
SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
EventTime = Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENT_TIME_MS)]
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]

REASONS = ("empty", "too_large", "not_json", "schema", "empty_id", "key_mismatch", "future")


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """One event of one session. `event_time_ms` is epoch milliseconds, UTC."""

    session_id: SessionId
    event_time_ms: EventTime
    item_id: Id = ""
    kind: Kind = "view"
    user_id: Id | None = None
    price: Finite | None = None
    brand: Text | None = None
    category: Text | None = None
    title: Text | None = None


OPTIONAL_FIELDS = ("user_id", "price", "brand", "category", "title")


class Recommendation(msgspec.Struct, gc=False):
    """The list a session is shown after an event: item ids, best first, and their scores."""

    session_id: SessionId
    event_id: Annotated[str, msgspec.Meta(pattern="^[0-9]+-[0-9]+$")]
    event_time_ms: EventTime
    model_version: Annotated[str, msgspec.Meta(min_length=1)]
    items: list[str]
    scores: list[Finite]


class RejectedEvent(Exception):
    """A record that cannot be read as an event; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(Event)
_recommendation_decoder = msgspec.json.Decoder(Recommendation)


def encode_event(event: Event) -> bytes:
    """Event → JSON; absent fields are left out."""
    return _encoder.encode(event)


def message_time_ms(event_time_ms: int) -> int:
    """The timestamp of the message of an event of that time."""
    return max(event_time_ms, LEAST_MESSAGE_TIME_MS)


def decode_event(value: bytes | None, key: bytes | None = None) -> Event:
    """JSON → Event. Raises RejectedEvent with its reason.

    A `key` must be the session id: with another key the session's events would be spread
    over partitions and lose their order.
    """
    if not value:
        raise RejectedEvent("empty")
    if len(value) > MAX_EVENT_BYTES:
        raise RejectedEvent("too_large")
    try:
        event = _event_decoder.decode(value)
        session = event.session_id.encode()
    except msgspec.ValidationError:
        raise RejectedEvent("schema") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RejectedEvent("not_json") from None
    if not event.item_id and event.kind != "session_end":
        raise RejectedEvent("empty_id")
    if key is not None and key != session:
        raise RejectedEvent("key_mismatch")
    return event


def encode_recommendation(
    session_id: str,
    event_id: str,
    event_time_ms: int,
    model_version: str,
    items: list[str],
    scores: object,
) -> bytes:
    """Recommendation → JSON; `scores` is a float32 array of the items' length."""
    return orjson.dumps(
        {
            "session_id": session_id,
            "event_id": event_id,
            "event_time_ms": event_time_ms,
            "model_version": model_version,
            "items": items,
            "scores": scores,
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def decode_recommendation(value: bytes) -> Recommendation:
    """JSON → Recommendation. Raises msgspec.DecodeError when it is none."""
    return _recommendation_decoder.decode(value)
