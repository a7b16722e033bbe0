"""Dead letters: records of `events` that cannot be decoded, kept in `events-dlq` with their reason.

The source rejects the record; the sink publishes the letter with the lists of its wave.
Tested by tests/integration/test_dead_letters.py and tests/faults/test_events.py.
"""

from __future__ import annotations

from stream.events import MAX_LETTER_BYTES, MAX_LETTER_HEADER_BYTES
from stream.wave.waves import Arrival

Headers = list[tuple[str, str | bytes | None]]


def dead_letter(arrival: Arrival, events_topic: str) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of a rejected record's letter.

    A record over MAX_LETTER_BYTES is cut; the header `cut_from` then has the lengths of its key and value.

    >>> from stream.sessions.watermark import NO_WATERMARK
    >>> rejected = Arrival(3, 17, None, NO_WATERMARK, 0, "not_json", b"key", b"{")
    >>> dead_letter(rejected, "events")[2][0]
    ('reason', b'not_json')
    """
    key, value = arrival.key, arrival.value
    headers: Headers = [
        ("reason", arrival.reason.encode()),
        ("topic", events_topic.encode()),
        ("partition", b"%d" % arrival.partition),
        ("offset", b"%d" % arrival.offset),
    ]
    if sum(len(name) + len(kept or b"") for name, kept in arrival.origin) <= MAX_LETTER_HEADER_BYTES:
        headers += arrival.origin
    if len(key or b"") + len(value or b"") > MAX_LETTER_BYTES:
        headers.append(("cut_from", b"%d,%d" % (len(key or b""), len(value or b""))))
        key = key[: MAX_LETTER_BYTES // 2] if key else key
        value = value[: MAX_LETTER_BYTES // 2] if value else value
    return key, value, headers
