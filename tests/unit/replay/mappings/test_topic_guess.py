"""What is what in a topic, by a sample of its records, their keys and their times."""

import json
from typing import Any

import msgspec
import pytest

from model.errors import NextclickError
from replay.mappings.topic_guess import (
    check_key_is_session,
    decoded,
    guess_topic,
    known_shape,
    objects_of,
)
from stream.event_decoder import OWN_EVENTS
from stream.event_log.columns import Record
from stream.events import Event, encode_event
from stream.ingest.mapped_decoder import KEY, TIMESTAMP, MappedDecoder

START_MS = 1_709_629_235_000


def shop_records(*, key: str = "session", time: bool = True) -> list[Record]:
    """Clicks of 20 visitors in a shop's own JSON, keyed by what `key` says."""
    found = []
    for n in range(200):
        at_ms = START_MS + 7_000 * n
        value: dict[str, Any] = {
            "visit": {"token": f"v{n % 20}"},
            "article": {"sku": f"A-{n * 7 % 31}"},
            "what": ["view", "add_to_cart", "order"][n % 3],
        }
        if time:
            value["occurred"] = at_ms
        keys = {"session": f"v{n % 20}", "other": f"k{n}", "none": None}
        named = keys[key]
        found.append(Record(n, named.encode() if named else None, json.dumps(value).encode(), at_ms))
    return found


def test_our_own_events_are_known() -> None:
    own = [Record(n, b"s", encode_event(Event("s", START_MS + n, f"i{n}")), START_MS) for n in range(20)]
    assert known_shape(own) == ""
    # One in ten may be anything else.
    assert known_shape([*own, Record(20, b"s", b"{", None), Record(21, b"s", b"", None)]) == ""
    assert known_shape(shop_records()) is None


def test_a_payload_that_has_a_name_is_known() -> None:
    track = {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "a",
        "timestamp": "2024-03-05T09:00:35Z",
    }
    value = json.dumps({**track, "properties": {"product_id": "p1"}}).encode()
    assert known_shape([Record(n, b"a", value, START_MS) for n in range(5)]) == "segment"


def test_a_mapping_is_guessed_that_reads_every_record() -> None:
    records = shop_records()
    guess = guess_topic(objects_of(records, msgspec.json.decode), "")
    assert guess.mapping is not None, guess.doubts
    assert (guess.mapping.columns["item"], guess.mapping.columns["time"]) == ("article.sku", "occurred")
    found = decoded(records, MappedDecoder(guess.mapping))
    assert len(found.events) == 200
    assert found.known == 1.0
    assert [event.kind for event in found.events[:3]] == ["view", "cart", "purchase"]
    assert (found.events[0].session_id, found.events[0].event_time_ms) == ("v0", START_MS)
    check_key_is_session(found, records, "ingest")


def test_key_and_time_of_the_records_stand_in_where_the_values_name_none() -> None:
    records = shop_records(time=False)
    objects = [
        {KEY: one[KEY], TIMESTAMP: one[TIMESTAMP], "article": one["article"], "what": one["what"]}
        for one in objects_of(records, msgspec.json.decode)
    ]
    guess = guess_topic(objects, "")
    assert guess.mapping is not None, guess.doubts
    assert (guess.mapping.columns["session"], guess.mapping.columns["time"]) == ("@key", "@timestamp")
    assert "200 records have 20 keys" in guess.evidence["session"]
    found = decoded(records, MappedDecoder(guess.mapping))
    assert {event.event_time_ms for event in found.events} == {START_MS + 7_000 * n for n in range(200)}
    # What is said holds.
    said = guess_topic(objects, "item=article.sku,session=@key,time=@timestamp")
    assert said.mapping is not None
    assert said.mapping.columns["session"] == "@key"


def test_a_topic_that_is_not_keyed_by_the_session_is_refused() -> None:
    for key, why in (("other", "200 have another key"), ("none", "200 have no key")):
        records = shop_records(key=key)
        guess = guess_topic(objects_of(records, msgspec.json.decode), "session=visit.token")
        assert guess.mapping is not None
        found = decoded(records, MappedDecoder(guess.mapping))
        with pytest.raises(NextclickError, match=why):
            check_key_is_session(found, records, "nextclick ingest")


def test_records_that_are_no_json_say_what_they_are() -> None:
    avro = [Record(n, b"s", b"\0\0\0\0\x07\x02\x04more", None) for n in range(5)]
    with pytest.raises(NextclickError, match="schema id 7"):
        objects_of(avro, msgspec.json.decode)
    with pytest.raises(NextclickError, match="no JSON objects"):
        objects_of([Record(n, b"s", b"a;b;c", None) for n in range(5)], msgspec.json.decode)


def test_what_is_not_sure_stays_a_doubt() -> None:
    objects = [{KEY: "", TIMESTAMP: "", "a": f"x{n % 9}", "b": f"y{n % 7}"} for n in range(100)]
    guess = guess_topic(objects, "")
    assert guess.mapping is None
    assert {doubt.role for doubt in guess.doubts} >= {"item", "session"}
    assert decoded([], OWN_EVENTS).known == 0.0
