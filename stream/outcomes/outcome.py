"""What came of one list: the value on the topic `outcomes`.

One record for each list, once its time is over, also of lists that nobody took anything from: rates and
estimates need them. What was listed and then clicked, put in the basket or bought is in `taken`.
"""

from __future__ import annotations

from typing import Final

import msgspec

# What a visitor takes of a list, by the kind of its event.
CLICK, BASKET, PURCHASE = "view", "cart", "purchase"
TAKEN_KINDS = (CLICK, BASKET, PURCHASE)
# What is no record of ours, not UTF-8, nested too deeply, or has a number that is too long.
UNREADABLE_ERRORS: Final = (msgspec.DecodeError, ValueError, RecursionError)
# A record stays below the brokers' limit, whatever a robot takes.
MOST_TAKEN: Final = 500


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A later event of the session on an item of the list.

    `place` counts from 1; `owner` is its side in an interleaved list, as in the header `owners`.
    """

    event_id: str
    item_id: str
    kind: str
    place: int
    after_ms: int
    owner: str = ""
    price: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """A list and what came of it within `within_ms`.

    `next_place` is the place of the session's next event's item, 0 where it was not listed, None where the
    session had no further event in time. `source` is what made the list where its version did not: the
    header `fallback` or `level`. Without an experiment `experiment` and `side` are "". `not_counted` are
    events beyond the MOST_TAKEN first ones.

    >>> outcome = Outcome("s", "0-7", 5, "v", ["i"], [Taken("0-8", "i", "view", 1, 60)], 600_000, 1)
    >>> decode_outcome(encode_outcome(outcome)) == outcome
    True
    """

    session_id: str
    event_id: str
    event_time_ms: int
    model_version: str
    items: list[str]
    taken: list[Taken]
    within_ms: int
    next_place: int | None = None
    position: int = 0
    source: str = ""
    experiment: str = ""
    side: str = ""
    propensity: float = 1.0
    owners: str = ""
    not_counted: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    """The value of a record on `outcomes`."""
    return _encoder.encode(outcome)


def decode_outcome(value: bytes | None) -> Outcome:
    """The outcome in a record's value. Raises one of UNREADABLE_ERRORS when it is none."""
    return _decoder.decode(value or b"")
