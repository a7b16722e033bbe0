import json
from typing import Any

import pytest

from model.errors import NextclickError
from stream.events import Event, LeftOutRecord, RejectedEvent
from stream.ingest.listed_events import ListedEvents
from stream.log_mapping import LogMapping

AT_MS = 1_700_000_000_000


def events(mapping: LogMapping, record: object, key: bytes | None = None, **more: Any) -> list[Event]:
    return ListedEvents(mapping).events(json.dumps(record).encode(), key, **more)


def test_every_element_of_a_list_is_an_event_with_what_the_record_says_of_all() -> None:
    columns = {"session": "s", "item": "d.clicks[].aid", "time": "d.clicks[].ts", "kind": "d.clicks[].type"}
    mapping = LogMapping(columns, {"carts": "cart"})
    clicks = [{"aid": n, "ts": AT_MS + n, "type": kind} for n, kind in enumerate(("clicks", "carts", "x"))]
    record = {"s": "s1", "d": {"clicks": clicks}}
    expected = [Event("s1", AT_MS, "0"), Event("s1", AT_MS + 1, "1", "cart")]
    assert events(mapping, record) == expected
    # JSON in a text on the way to the list.
    assert events(mapping, {"s": "s1", "d": json.dumps(record["d"])}) == expected
    with pytest.raises(LeftOutRecord, match="no_item"):
        events(mapping, {"s": "s1", "d": {}})
    with pytest.raises(RejectedEvent, match="schema"):
        events(mapping, {"s": "s1", "d": {"clicks": [*clicks, {"aid": 1, "ts": None, "type": "carts"}]}})


def test_a_record_that_is_a_list_is_read() -> None:
    mapping = LogMapping({"session": "[].s", "item": "[].i", "time": "@timestamp"})
    found = events(mapping, [{"s": "a", "i": 1}, {"s": "b", "i": 2}], timestamp_ms=AT_MS)
    assert found == [Event("a", AT_MS, "1"), Event("b", AT_MS, "2")]


def test_a_session_may_be_a_user_or_a_users_day_whatever_the_key_is() -> None:
    columns = {"user": "u", "item": "i", "time": "t"}
    record = {"u": 7, "i": 1, "t": "2023-11-14T23:30:00Z"}
    (event,) = events(LogMapping(columns, sessions="gap"), record, b"another key")
    assert (event.session_id, event.user_id) == ("7", "7")
    (event,) = events(LogMapping(columns, sessions="day", time_zone="Europe/Berlin"), record)
    assert (event.session_id, event.user_id) == ("7|2023-11-15", "7")


@pytest.mark.parametrize(
    ("columns", "sessions", "words"),
    [
        ({"session": "s", "item": "a[].i", "time": "b[].t"}, "column", "of several lists"),
        ({"session": "s", "item": "a[].b[].i", "time": "t"}, "column", "of several lists"),
        ({"user": "u", "item": "i", "time": "t"}, "user", "all of a user"),
    ],
)
def test_what_cannot_be_ingested_is_refused(columns: dict[str, str], sessions: str, words: str) -> None:
    with pytest.raises(NextclickError, match=words):
        ListedEvents(LogMapping(columns, sessions=sessions))
