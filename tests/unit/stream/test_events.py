import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.events import (
    MAX_EVENT_TIME_MS,
    REASONS,
    Event,
    RejectedEvent,
    decode_event,
    decode_recommendation,
    encode_event,
    encode_recommendation,
)

TEXT = st.text(min_size=1, max_size=64).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)


@given(
    TEXT,
    TEXT,
    st.integers(0, MAX_EVENT_TIME_MS),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_an_event_comes_back_as_it_was(session: str, item: str, time_ms: int, price: float | None) -> None:
    event = Event(session, time_ms, item, "cart", price=price)
    assert decode_event(encode_event(event), session.encode()) == event


def test_absent_fields_are_not_written() -> None:
    assert msgspec.json.decode(encode_event(Event("s", 1, "i"))) == {
        "session_id": "s",
        "event_time_ms": 1,
        "item_id": "i",
    }


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode)
)
def test_any_bytes_are_an_event_or_a_reason(value: bytes) -> None:
    try:
        decode_event(value)
    except RejectedEvent as rejected:
        assert rejected.reason in REASONS


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b'{"x":' + b"[" * 10_000, "not_json"),
        (b'{"session_id":"","event_time_ms":1,"item_id":"i"}', "schema"),
        (b'{"session_id":"s","event_time_ms":1.5,"item_id":"i"}', "schema"),
        (b'{"session_id":"s","event_time_ms":1506826800026000,"item_id":"i"}', "schema"),
        (b'{"session_id":"s","event_time_ms":1,"item_id":7}', "schema"),
        (b'{"session_id":"s","event_time_ms":1,"item_id":"i","kind":"remove"}', "schema"),
        (b'{"session_id":"s","event_time_ms":1,"kind":"view"}', "empty_id"),
        (b" " * 65_537, "too_large"),
    ],
)
def test_what_is_no_event_has_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(RejectedEvent) as caught:
        decode_event(value)
    assert caught.value.reason == reason


def test_session_end_needs_no_item() -> None:
    assert decode_event(b'{"session_id":"s","event_time_ms":1,"kind":"session_end"}').kind == "session_end"


def test_another_key_than_the_session_is_rejected() -> None:
    with pytest.raises(RejectedEvent, match="key_mismatch"):
        decode_event(encode_event(Event("s", 1, "i")), b"t")


def test_scores_come_back_as_the_same_float32() -> None:
    scores = np.random.default_rng(0).normal(size=20).astype(np.float32)
    value = encode_recommendation("s", "0-1", 5, "v", [str(i) for i in range(20)], scores)
    assert (np.array(decode_recommendation(value).scores, np.float32) == scores).all()
