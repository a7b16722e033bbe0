"""The values on the topics: Event in, Recommendation out.

Decoding accepts only what the schema allows; a rejected event carries a
reason from a fixed set, so that rejected events can be counted without unbounded labels.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal

import msgspec
import orjson

# Year 2100: a later time is a wrong unit (microseconds, nanoseconds).
MAX_EVENT_TIME_MS = 4_102_444_800_000
MAX_EVENT_BYTES = 64 * 1024
# Of a dead letter: below the brokers' default limit of 1 MiB, headers included, since a refused letter would
# end the process.
MAX_LETTER_BYTES = 900_000
# Of the headers of its record, which are left out where they are more.
MAX_LETTER_HEADER_BYTES = 64_000
# The timestamp of an event's message is its event time, except for 0, which means now to librdkafka.
LEAST_MESSAGE_TIME_MS = 1

Kind = Literal["view", "cart", "purchase", "session_end", "dismiss", "forget"]
# What a visitor chose, and which the rules of lists look at; nothing is learned from a dismissal.
PURCHASE: Final = "purchase"
DISMISS: Final = "dismiss"
# Ends a session, of which nothing may be kept.
FORGET: Final = "forget"
# Kinds without an item, which end their session; kinds that nothing is learned from.
ENDINGS = ("session_end", FORGET)
NOT_LEARNED = (DISMISS, FORGET)
# Why a list is not of its event's own step: the values of the list's field `fallback`.
UNKNOWN_ITEM = "unknown_item"
EMPTY_SESSION = "empty_session"
LAG = "lag"
FALLBACKS = (UNKNOWN_ITEM, EMPTY_SESSION, LAG, DISMISS, FORGET)
# Names of kinds that logs have in common, in lower case; a mapping adds to them, or says otherwise.
COMMON_KINDS = {
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
    "dismiss": "dismiss",
}
Id = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=8192)]
SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
EventTime = Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENT_TIME_MS)]
# The name of a placement.
PLACEMENT: Final = r"^[a-z0-9_-]{1,64}$"
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]

REASONS = (
    "empty",
    "too_large",
    "not_json",
    "schema",
    "empty_id",
    "key_mismatch",
    "future",
    "past",
    "no_schema",
)
# Why a mapping makes no event of a readable record, which is no dead letter then.
LEFT_OUT_REASONS = ("other_kind", "no_item")


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


class PlacedRecommendation(Recommendation):
    """The list of a published placement after an event."""

    placement: Annotated[str, msgspec.Meta(pattern=PLACEMENT)]


class RejectedEvent(Exception):
    """A record that cannot be read as an event; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LeftOutRecord(RejectedEvent):
    """A readable record of a topic of one's own that is no event; `reason` is one of LEFT_OUT_REASONS."""


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(Event)
_recommendation_decoder = msgspec.json.Decoder(Recommendation)


def encode_event(event: Event) -> bytes:
    """Returns the event as JSON, without absent fields.

    >>> encode_event(Event("a session", 1_700_000_000_000, "an item"))
    b'{"session_id":"a session","event_time_ms":1700000000000,"item_id":"an item"}'
    """
    return _encoder.encode(event)


def message_time_ms(event_time_ms: int) -> int:
    """The timestamp of the message of an event."""
    return max(event_time_ms, LEAST_MESSAGE_TIME_MS)


def decode_event(value: bytes | None, key: bytes | None = None) -> Event:
    """Returns the event of a JSON value. Raises RejectedEvent with its reason.

    A `key` must be the session id: with another key the session's events would be spread
    over partitions and lose their order.

    >>> decode_event(b'{"session_id":"s","event_time_ms":5,"item_id":"i"}', b"s").kind
    'view'
    >>> decode_event(b'{"session_id":"s"}')  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    RejectedEvent: schema
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
    if not event.item_id and event.kind not in ENDINGS:
        raise RejectedEvent("empty_id")
    if key is not None and key != session:
        raise RejectedEvent("key_mismatch")
    return event


def check_time(event: Event, earliest_ms: int, latest_ms: int) -> None:
    """Raises RejectedEvent for a time outside [earliest_ms, latest_ms]: "past" or "future"."""
    if event.event_time_ms > latest_ms:
        raise RejectedEvent("future")
    if event.event_time_ms < earliest_ms:
        raise RejectedEvent("past")


def encode_recommendation(
    session_id: str,
    event_id: str,
    event_time_ms: int,
    model_version: str,
    items: list[str],
    scores: object,
    placement: str = "",
) -> bytes:
    """Returns the recommendation as JSON; `scores` is a float32 array of the items' length.

    With a `placement` it is that of a PlacedRecommendation.
    """
    fields: dict[str, object] = {
        "session_id": session_id,
        "event_id": event_id,
        "event_time_ms": event_time_ms,
        "model_version": model_version,
        "items": items,
        "scores": scores,
    }
    if placement:
        fields["placement"] = placement
    return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_recommendation(value: bytes) -> Recommendation:
    """Returns the recommendation of a JSON value. Raises msgspec.DecodeError when it is none."""
    return _recommendation_decoder.decode(value)
