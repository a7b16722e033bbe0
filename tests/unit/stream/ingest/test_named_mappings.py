"""Payloads as their vendors publish them."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from stream.event_decoder import Headers
from stream.events import Event, LeftOutRecord
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.named_mappings import NAMES, mapping_by

SNOWPLOW_ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
SNOWPLOW_PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
AT_MS = 1_523_356_232_123
AT = "2018-04-10T10:30:32.123Z"

PAYLOADS: dict[str, tuple[dict[str, Any], Event]] = {
    "cloudevents": (
        {
            "specversion": "1.0",
            "id": "a-1",
            "source": "/shop",
            "type": "click",
            "time": AT,
            "datacontenttype": "application/json",
            "data": {"session_id": "s1", "product_id": 17, "price": 9.5, "name": "A mug"},
        },
        Event("s1", AT_MS, "17", "view", None, 9.5, None, None, "A mug"),
    ),
    "segment": (
        {
            "type": "track",
            "event": "Product Added",
            "anonymousId": "anon-1",
            "userId": None,
            "messageId": "m",
            "originalTimestamp": AT,
            "receivedAt": "2018-04-10T10:30:40.000Z",
            "properties": {"product_id": "507f", "sku": "G", "name": "Monopoly", "price": 9.5, "brand": "H"},
            "context": {"ip": "8.8.8.8", "library": {"name": "analytics.js"}},
        },
        Event("anon-1", AT_MS, "507f", "cart", None, 9.5, "H", None, "Monopoly"),
    ),
    "snowplow": (
        {
            "app_id": "shop",
            "event": "unstruct",
            "event_name": "snowplow_ecommerce_action",
            "collector_tstamp": "2018-04-10T10:30:33Z",
            "derived_tstamp": AT,
            "domain_sessionid": "c6ef3124",
            "domain_userid": "bc2e92ec",
            "user_id": None,
            SNOWPLOW_ACTION: {"type": "product_view"},
            SNOWPLOW_PRODUCT: [{"id": "P125", "name": "Ball", "price": 20, "category": "toys"}],
        },
        Event("c6ef3124", AT_MS, "P125", "view", "bc2e92ec", 20.0, None, "toys", "Ball"),
    ),
    "ga4": (
        {
            "event_name": "add_to_cart",
            "event_timestamp": AT_MS * 1000 + 7,
            "user_pseudo_id": "1234.5678",
            "event_params": [{"key": "ga_session_id", "value": {"int_value": 5}}],
            "items": [{"item_id": "SKU_1", "item_name": "Tee", "price": 10.01, "item_brand": "G"}],
        },
        Event("1234.5678", AT_MS, "SKU_1", "cart", None, 10.01, "G", None, "Tee"),
    ),
}  # fmt: skip


def decode(name: str, record: dict[str, Any], key: bytes | None = None, headers: Headers = ()) -> Event:
    return MappedDecoder(mapping_by(name)).decode(json.dumps(record).encode(), key, AT_MS, headers)


def test_every_named_mapping_has_its_payload() -> None:
    assert set(PAYLOADS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_payload_is_its_event(name: str) -> None:
    record, event = PAYLOADS[name]
    assert decode(name, record, event.session_id.encode()) == event


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("cloudevents", {"type": "com.shop.newsletter"}, "other_kind"),
        ("segment", {"type": "identify", "event": None}, "other_kind"),
        ("segment", {"event": "Products Searched", "properties": {"query": "x"}}, "other_kind"),
        ("snowplow", {SNOWPLOW_ACTION: None, SNOWPLOW_PRODUCT: None, "event": "page_view"}, "no_item"),
        ("snowplow", {SNOWPLOW_ACTION: {"type": "checkout_step"}}, "other_kind"),
        ("ga4", {"event_name": "page_view", "items": []}, "other_kind"),
    ],
)
def test_what_is_no_event_of_an_item_is_left_out(name: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeftOutRecord, match=reason):
        decode(name, {**PAYLOADS[name][0], **changes})


def test_a_cloud_event_in_binary_mode_has_its_context_in_headers() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"purchase"),
        ("ce_time", AT.encode()),
        ("ce_id", b"1"),
    ]
    event = decode("cloudevents", {"sessionId": "s1", "itemId": "i1"}, b"s1", headers)
    assert event == Event("s1", AT_MS, "i1", "purchase")
    keyed = decode("cloudevents", {"sku": 5}, b"s2", [("ce_type", b"click")])
    assert keyed == Event("s2", AT_MS, "5", "view")


def test_a_file_says_only_what_is_otherwise_than_in_a_named_mapping(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(
        'like = "cloudevents"\n[columns]\nsession = "data.visit"\n[kinds]\n"shop.product.viewed" = "view"\n'
    )
    record = {**PAYLOADS["cloudevents"][0], "type": "shop.product.viewed"}
    record["data"] = {**record["data"], "visit": "v1"}
    assert decode(str(file), record).session_id == "v1"
    file.write_text('like = "cloudevent"\n')
    with pytest.raises(NextclickError, match="there is no mapping of the name 'cloudevent'"):
        mapping_by(str(file))
    file.write_text('like = "segment"\n[columns]\nsku = "a"\n')
    with pytest.raises(NextclickError, match="there is no role sku"):
        mapping_by(str(file))
    with pytest.raises(NextclickError) as caught:
        mapping_by("cloud")
    assert "or a name: cloudevents, ga4, segment, snowplow" in caught.value.meaning


@pytest.mark.parametrize("event", ["page_ping", "link_click", "unstruct"])
def test_a_page_ping_with_a_product_of_snowplow_is_no_view(event: str) -> None:
    record = {name: value for name, value in PAYLOADS["snowplow"][0].items() if name != SNOWPLOW_ACTION}
    with pytest.raises(LeftOutRecord, match="other_kind"):
        decode("snowplow", {**record, "event": event, "event_name": None})
    assert decode("snowplow", {**record, "event": "page_view", "event_name": "page_view"}).kind == "view"
