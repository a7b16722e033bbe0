import json
import time

import pytest

from stream.events import RejectedEvent, decode_event
from stream.web.api import stamped


def test_an_event_without_a_time_gets_that_of_now_and_one_with_a_time_keeps_it() -> None:
    before_ms = int(time.time() * 1000)
    event = decode_event(stamped(b'{"session_id":"s","item_id":"i"}'))
    assert before_ms <= event.event_time_ms <= int(time.time() * 1000)
    given = json.dumps({"session_id": "s", "item_id": "i", "event_time_ms": 5}).encode()
    assert stamped(given) == given


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"{", "not_json"),
        (b'"text"', "schema"),
        (b'{"x":' + b"[" * 60_000, "not_json"),
        (b"\xff\xfe", "not_json"),
        (b" " * 70_000, "too_large"),
        (b'{"session_id":"s","event_time_ms":null,"item_id":"i"}', "schema"),
    ],
)
def test_what_is_no_event_stays_what_it_is(body: bytes, reason: str) -> None:
    assert stamped(body) == body
    with pytest.raises(RejectedEvent, match=reason):
        decode_event(stamped(body))
