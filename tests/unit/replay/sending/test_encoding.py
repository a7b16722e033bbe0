import pickle

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay.sending.encoding import KINDS, EncodedEvents, encode, events_of
from stream.events import MAX_EVENT_TIME_MS, OPTIONAL_FIELDS, decode_event, encode_event

# Of each kind that JSON, UTF-8 or a CSV file treats in a way of its own.
CHARACTERS = 'aé🛒"\\/\x00\x08\t\n\r\x1f\x7f\x80\u2028\ufeff,'
texts = st.text(CHARACTERS, max_size=4) | st.text(max_size=4)
PRICES = [
    0.0,
    -0.0,
    1.0,
    489.07,
    1e16,
    1e-5,
    0.1 + 0.2,
    1.7e308,
    5e-324,
    -1.5,
    -7.0,
    1e22,
    1e7,
    9999999.75,
    1e-3,
    9e-4,
]
rows = st.fixed_dictionaries(
    {
        "session_id": texts,
        "event_time_ms": st.sampled_from([0, 1, 1_500_000_000_000, MAX_EVENT_TIME_MS]),
        "item_id": texts,
        "kind": st.sampled_from(list(KINDS)),
    }
)
maybe_text = st.none() | texts
more = st.fixed_dictionaries(
    {
        "user_id": maybe_text,
        "price": st.none() | st.sampled_from(PRICES) | st.floats(1e-4, 1e8) | st.floats(allow_nan=False),
        "brand": maybe_text,
        "category": maybe_text,
        "title": maybe_text,
    }
)
ODD = {"session_id": 's"', "event_time_ms": 5, "item_id": "", "kind": "view"}
NOTHING = dict.fromkeys(OPTIONAL_FIELDS)


def frame_of(events: list[tuple[dict[str, object], dict[str, object]]], names: set[str]) -> pd.DataFrame:
    """An event frame with those of the optional columns."""
    columns = {name: [row[name] for row, _ in events] for name in ODD}
    columns |= {name: [row[name] for _, row in events] for name in OPTIONAL_FIELDS if name in names}
    frame = pd.DataFrame(columns)
    for name in frame.columns.difference(["event_time_ms", "price"]):
        frame[name] = frame[name].astype("str")
    if "price" in frame:
        frame["price"] = frame["price"].astype("float64")
    return frame.astype({"event_time_ms": "int64"})


@settings(deadline=None)
@given(st.lists(st.tuples(rows, more), max_size=8), st.sets(st.sampled_from(OPTIONAL_FIELDS)))
@example([(ODD, NOTHING), (ODD | {"session_id": "s"}, NOTHING)], set(OPTIONAL_FIELDS))
@example([], set(OPTIONAL_FIELDS))
def test_the_values_are_those_of_the_schemas_encoder(
    events: list[tuple[dict[str, object], dict[str, object]]], names: set[str]
) -> None:
    frame = frame_of(events, names)
    for part in (frame, frame.iloc[1:], frame.iloc[:-1], frame[::-1]):
        expected = list(events_of(part))
        encoded = EncodedEvents.of(encode(part))
        assert encoded.values == [encode_event(event) for event in expected]
        assert encoded.keys == [event.session_id.encode() for event in expected]
        # librdkafka takes 0 for now.
        assert encoded.times_ms == [event.event_time_ms or 1 for event in expected]
        assert all(type(time_ms) is int for time_ms in encoded.times_ms)


def test_missing_values_are_absent_and_empty_ones_are_not() -> None:
    frame = frame_of(
        [(ODD | {"session_id": "s", "item_id": "i"}, NOTHING | {"brand": "", "price": 2})], {*OPTIONAL_FIELDS}
    )
    (value,) = EncodedEvents.of(encode(frame)).values
    assert value == b'{"session_id":"s","event_time_ms":5,"item_id":"i","price":2.0,"brand":""}'
    assert decode_event(value, b"s").brand == ""


def test_columns_of_objects_are_taken_as_they_are() -> None:
    frame = pd.DataFrame(
        {"session_id": ["s"], "event_time_ms": [5], "item_id": ["i"], "kind": ["cart"]}, dtype=object
    )
    frame["brand"] = pd.Series([None], dtype=object)
    assert EncodedEvents.of(encode(frame)).values == [
        b'{"session_id":"s","event_time_ms":5,"item_id":"i","kind":"cart"}'
    ]


def test_a_kind_that_the_schema_has_not_is_named() -> None:
    frame = frame_of([(ODD, NOTHING), (ODD | {"kind": "stare"}, NOTHING)], set())
    with pytest.raises(KeyError, match="stare"):
        encode(frame)


def test_a_few_events_of_a_large_frame_go_to_another_process_without_the_rest() -> None:
    sessions = pd.Series([f"session-{number}" for number in range(50_000)], dtype="str")
    frame = pd.DataFrame({"session_id": sessions, "item_id": "i", "event_time_ms": 5, "kind": "view"})
    batch = encode(frame.iloc[40_000:40_010])
    assert EncodedEvents.of(batch).keys[0] == b"session-40000"
    assert len(pickle.dumps(batch)) < 10_000
