import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS
from stream.events import LEFT_OUT_REASONS, OPTIONAL_FIELDS, Event, LeftOutRecord, RejectedEvent, encode_event
from stream.ingest.decoders import decoder_of
from stream.ingest.mapped_decoder import MappedDecoder
from stream.log_mapping import ROLES, LogMapping, parse_mapping
from stream.settings import Settings

AT_MS = 1_396_867_869_277
SHOP = LogMapping(
    {
        "session": "visitor.id",
        "item": "product.sku",
        "time": "ts",
        "kind": "type",
        "user": "visitor.account",
        "price": "product.price",
        "title": "product.title",
    },
    {"pv": "view", "3": "purchase", "scroll": "left out"},
    time_unit="ms",
)


def shop_record(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "type": "pv",
        "ts": AT_MS,
        "visitor": {"id": "s1", "account": 4711, "agent": {"name": "a browser"}},
        "product": {"sku": 17, "price": "12.50", "title": "A mug", "tags": ["white"]},
        "page": {"url": "/mug", "depth": [1, {"x": None}]},
    }
    return {**record, **changes}


def decoded(mapping: LogMapping, record: object, key: bytes | None = None, **of_record: Any) -> Event:
    return MappedDecoder(mapping).decode(json.dumps(record).encode(), key, **of_record)


def test_a_nested_record_is_read_by_its_paths() -> None:
    event = decoded(SHOP, shop_record(), b"s1")
    assert event == Event("s1", AT_MS, "17", "view", "4711", 12.5, None, None, "A mug")


@pytest.mark.parametrize(
    ("kind", "meant"),
    [("pv", "view"), (3, "purchase"), ("AddToCart", "cart"), (" PV ", "view"), (None, "view"), ("", "view")],
)
def test_a_kind_is_what_the_mapping_or_its_common_name_says(kind: object, meant: str) -> None:
    assert decoded(SHOP, shop_record(type=kind)).kind == meant


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "scroll"}, "other_kind"),
        ({"type": "newsletter"}, "other_kind"),
        ({"type": "scroll", "product": "of another shape"}, "other_kind"),
        ({"product": None}, "no_item"),
        ({"product": {"sku": ""}}, "no_item"),
        ({"product": {}}, "no_item"),
    ],
)
def test_a_readable_record_that_is_no_event_is_left_out(changes: dict[str, Any], reason: str) -> None:
    assert reason in LEFT_OUT_REASONS
    with pytest.raises(LeftOutRecord, match=reason):
        decoded(SHOP, shop_record(**changes))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (None, "empty"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b" " * ((1 << 20) + 1), "too_large"),
        (b"null", "schema"),
        (b"[]", "schema"),
        (b"17", "schema"),
        (json.dumps(shop_record(ts="soon")), "schema"),
        (json.dumps(shop_record(ts=None)), "schema"),
        (json.dumps(shop_record(ts=True)), "schema"),
        (json.dumps(shop_record(ts=float("inf"))), "not_json"),
        (json.dumps(shop_record(visitor={"id": ""})), "schema"),
        (json.dumps(shop_record(visitor={"id": {"a": 1}})), "schema"),
        (json.dumps(shop_record(visitor={"id": "s" * 257})), "schema"),
        (json.dumps(shop_record(visitor={"id": "\ud800"})), "not_json"),
        (json.dumps(shop_record(product={"sku": 1, "price": "cheap"})), "schema"),
        (json.dumps(shop_record(product={"sku": 1, "title": "t" * 8193})), "schema"),
    ],
)
def test_an_unreadable_record_is_rejected(value: bytes | str | None, reason: str) -> None:
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    with pytest.raises(RejectedEvent) as caught:
        MappedDecoder(SHOP).decode(raw)
    assert caught.value.reason == reason
    assert not isinstance(caught.value, LeftOutRecord)


def test_a_key_that_is_not_the_session_is_rejected() -> None:
    with pytest.raises(RejectedEvent, match="key_mismatch"):
        decoded(SHOP, shop_record(), b"s2")


def test_json_in_a_text_is_read() -> None:
    mapping = parse_mapping("session=data.s,item=data.items[0].sku,time=at")
    inner = json.dumps({"s": "s1", "items": [{"sku": "i1"}, {"sku": "i2"}]})
    assert decoded(mapping, {"data": inner, "at": AT_MS}).item_id == "i1"
    # A record that was written as JSON twice.
    assert decoded(mapping, json.dumps({"data": inner, "at": AT_MS})).session_id == "s1"
    with pytest.raises(RejectedEvent, match="not_json"):
        decoded(mapping, {"data": "{", "at": AT_MS})


def test_a_name_with_a_dot_in_it_and_alternatives_are_found() -> None:
    mapping = parse_mapping("session=user.session,item=sku|item_id|product.id,time=at")
    assert decoded(mapping, {"user.session": "s", "item_id": 5, "at": AT_MS}).item_id == "5"
    assert decoded(mapping, {"user": {"session": "s"}, "product": {"id": 6}, "at": AT_MS}).item_id == "6"
    assert decoded(mapping, {"user": {"session": "s"}, "sku": 7, "item_id": 8, "at": AT_MS}).item_id == "7"


def test_key_time_and_headers_of_the_record_are_columns() -> None:
    columns = {"session": "@key", "item": "i", "time": "@timestamp", "user": "@header.uid"}
    mapping = LogMapping(columns, time_unit="s")
    decoder = MappedDecoder(mapping)
    assert decoder.reads_record
    event = decoder.decode(b'{"i": 1}', b"s1", AT_MS, [("uid", b"u1"), ("other", None), ("uid", b"u2")])
    assert event == Event("s1", AT_MS, "1", user_id="u2")
    assert decoder.decode(b'{"i": 1}', b"s1", AT_MS).user_id is None
    with pytest.raises(RejectedEvent, match="schema"):
        decoder.decode(b'{"i": 1}', None, AT_MS)
    assert not MappedDecoder(LogMapping({"session": "@key", "item": "i", "time": "t"})).reads_record


@pytest.mark.parametrize(
    ("unit", "zone", "raw", "at"),
    [
        ("", "UTC", 1_396_867_869, "2014-04-07T10:51:09+00:00"),
        ("", "UTC", 1_396_867_869.277, "2014-04-07T10:51:09.277+00:00"),
        ("", "UTC", "1396867869277", "2014-04-07T10:51:09.277+00:00"),
        ("", "UTC", 1_396_867_869_277_123, "2014-04-07T10:51:09.277+00:00"),
        ("", "UTC", 1_396_867_869_277_123_456, "2014-04-07T10:51:09.277+00:00"),
        ("ms", "UTC", 3_000, "1970-01-01T00:00:03+00:00"),
        ("s", "Europe/Berlin", 1_396_867_869, "2014-04-07T10:51:09+00:00"),
        ("", "Europe/Berlin", "2014-04-07T12:51:09.277", "2014-04-07T10:51:09.277+00:00"),
        ("iso", "Europe/Berlin", "2014-04-07 12:51:09Z", "2014-04-07T12:51:09+00:00"),
        ("", "UTC", "2014-04-07 10:51:09 UTC", "2014-04-07T10:51:09+00:00"),
        ("yyyymmdd", "Europe/Berlin", 20140407, "2014-04-06T22:00:00+00:00"),
        ("yyyymmddhhmmss", "UTC", "20140407105109", "2014-04-07T10:51:09+00:00"),
        ("%m%d in 2014", "UTC", "0407", "2014-04-07T00:00:00+00:00"),
        ("", "UTC", 20140407, "2014-04-07T00:00:00+00:00"),
        ("", "UTC", "20140407", "2014-04-07T00:00:00+00:00"),
        ("%d.%m.%Y %I:%M %p", "UTC", "07.04.2014 10:51 PM", "2014-04-07T22:51:00+00:00"),
    ],
)
def test_a_time_is_read_in_its_unit_and_zone(unit: str, zone: str, raw: object, at: str) -> None:
    mapping = LogMapping({"session": "s", "item": "i", "time": "t"}, time_unit=unit, time_zone=zone)
    event = decoded(mapping, {"s": "s", "i": "i", "t": raw})
    assert datetime.fromtimestamp(event.event_time_ms / 1000, UTC) == datetime.fromisoformat(at)


def test_a_price_with_a_decimal_comma_is_read() -> None:
    shop = LogMapping({"session": "s", "item": "i", "time": "t", "price": "p"})
    comma = LogMapping(shop.columns, files=type(shop.files)(decimal=","))
    record = {"s": "s", "i": "i", "t": AT_MS, "p": "1.234,50"}
    assert decoded(comma, record).price == 1234.5
    assert decoded(shop, {**record, "p": ""}).price is None
    assert decoded(shop, {**record, "p": 7}).price == 7.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("session=s,item=events[].aid,time=t", "a record holds a list of events"),
        ("session=s,item=2,time=t", "have names, not numbers"),
        ("session=s,item=a..b,time=t", "neither a name nor a place"),
        ("session=@partition,item=i,time=t", "nothing that a record has"),
    ],
)
def test_what_cannot_be_read_directly_is_refused(text: str, words: str) -> None:
    with pytest.raises(NextclickError) as caught:
        MappedDecoder(parse_mapping(text))
    assert words in f"{caught.value.what} {caught.value.meaning}"


@pytest.mark.parametrize("sessions", ["day", "user"])
def test_days_of_users_cannot_be_read_directly(sessions: str) -> None:
    mapping = LogMapping({"user": "u", "item": "i", "time": "t"}, sessions=sessions)
    with pytest.raises(NextclickError, match="sessions are users' days"):
        MappedDecoder(mapping)


def test_users_whose_silence_ends_a_session_are_its_sessions() -> None:
    mapping = LogMapping({"user": "u", "item": "i", "time": "t"}, sessions="gap")
    event = decoded(mapping, {"u": 4711, "i": "i", "t": AT_MS}, b"4711")
    assert (event.session_id, event.user_id) == ("4711", "4711")


def test_the_settings_name_the_file_of_the_mapping(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(SHOP.as_toml())
    value = json.dumps(shop_record()).encode()
    assert decoder_of(Settings(events_mapping=str(file))).decode(value).item_id == "17"
    assert decoder_of(Settings()) is OWN_EVENTS
    with pytest.raises(NextclickError, match=r"nowhere\.toml cannot be read as a mapping"):
        decoder_of(Settings(events_mapping=str(tmp_path / "nowhere.toml")))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=40)
@given(
    event=st.builds(
        Event,
        IDS,
        st.integers(10**11, 4 * 10**12),
        IDS,
        st.sampled_from(["view", "cart", "purchase"]),
        st.none() | IDS,
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | IDS,
        st.none() | IDS,
        st.none() | IDS,
    ),
    names=st.lists(IDS.filter(lambda n: not set(n) & set(".[]|@")), min_size=9, max_size=9, unique=True),
    depth=st.integers(0, 3),
)
def test_any_event_under_any_names_at_any_depth_is_the_same_event(
    event: Event, names: list[str], depth: int
) -> None:
    fields = ("session_id", "item_id", "event_time_ms", "kind", *OPTIONAL_FIELDS)
    record: Any = {name: getattr(event, field) for name, field in zip(names, fields, strict=True)}
    for _ in range(depth):
        record = {"at": record, "beside": [1, {"a": "b"}]}
    path = "at." * depth
    mapping = LogMapping({role: path + name for role, name in zip(ROLES, names, strict=True)}, time_unit="ms")
    assert decoded(mapping, record, event.session_id.encode()) == event


@given(st.binary(max_size=200) | st.builds(encode_event, st.builds(Event, TEXTS, st.integers(), TEXTS)))
def test_any_bytes_are_an_event_or_rejected(value: bytes) -> None:
    columns = {"session": "session_id", "item": "item_id", "time": "event_time_ms", "price": "a[0].b"}
    mapping = LogMapping(columns)
    try:
        MappedDecoder(mapping).decode(value)
    except RejectedEvent as rejected:
        assert rejected.reason


@pytest.mark.parametrize("product", [5, True, 1.5])
def test_a_value_where_a_record_was_meant_is_read_as_it_is(product: object) -> None:
    decoder = MappedDecoder(
        LogMapping({"session": "s", "item": "product.id|sku", "title": "product", "time": "ts"})
    )
    value = json.dumps({"s": "a", "product": product, "sku": "mug", "ts": AT_MS}).encode()
    assert decoder.decode(value, b"a").item_id == "mug"


def test_half_a_character_in_an_inner_json_is_rejected() -> None:
    decoder = MappedDecoder(LogMapping({"session": "s", "item": "inner.sku", "time": "ts", "price": "price"}))
    # A price that is a list makes the record be read as it is.
    record = {"s": "a", "inner": '{"sku": "\\ud800"}', "ts": AT_MS, "price": {}}
    with pytest.raises(RejectedEvent) as rejected:
        decoder.decode(json.dumps(record).encode(), b"a")
    assert rejected.value.reason in ("not_json", "schema")


def test_a_record_stamped_in_another_unit_is_rejected() -> None:
    decoder = MappedDecoder(LogMapping({"session": "@key", "item": "sku", "time": "@timestamp"}))
    with pytest.raises(RejectedEvent, match="schema"):
        decoder.decode(b'{"sku": "mug"}', b"a", AT_MS * 1000 * 1000)
