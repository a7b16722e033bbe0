"""Avro, Protobuf and JSON Schema through a real registry, with evolution, and with the registry away."""

import io
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer

from model.errors import NextclickError
from model.registry.registry import Registry as Models
from replay.end_to_end.worker_process import free_port
from stream.event_decoder import PatientDecoder, SchemaAwayError
from stream.events import Event, RejectedEvent
from stream.ingest import registry_schemas
from stream.ingest.decoders import decoder_of
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.registry_schemas import UNKNOWN_AFTER_S, SchemaRegistry
from stream.kafka.dead_letter_reader import letters
from stream.kafka.partitioner import partition_of
from stream.log_mapping import LogMapping
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.schema_registry import Registry, running_registry, wire
from tests.harness.serving import MakeSettings, worker

pytestmark = pytest.mark.kafka

AT_MS = 1_700_000_000_123
AT = datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
MAPPING = LogMapping(
    {"session": "visit", "item": "product.sku", "time": "at", "kind": "kind", "price": "product.price"}
)
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}


def avro(product: list[dict[str, Any]], *more: dict[str, Any]) -> dict[str, Any]:
    """A schema of clicks with these fields of the product."""
    inner = {"type": "record", "name": "Product", "fields": product}
    return {
        "type": "record",
        "name": "Click",
        "namespace": "shop",
        "fields": [
            {"name": "visit", "type": "string"},
            {"name": "product", "type": ["null", inner], "default": None},
            {"name": "at", "type": MILLIS},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["VIEW", "CART", "OTHER"]}},
            *more,
        ],
    }


PRICE = {"name": "price", "type": ["null", DECIMAL], "default": None}
OLD = avro([{"name": "sku", "type": "long"}, PRICE, {"name": "shelf", "type": "string"}])
# A field renamed, one removed, one added.
NEW = avro(
    [{"name": "article", "type": "long", "aliases": ["sku"]}, PRICE],
    {"name": "campaign", "type": ["null", "string"], "default": None},
)


def avro_record(schema: dict[str, Any], **record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"at": AT, "kind": "VIEW", **record})
    return out.getvalue()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


MakeDecoder = Callable[..., MappedDecoder]


@pytest.fixture
def decoder_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDecoder]:
    """Makes decoders by the registry at a URL."""
    monkeypatch.setattr(registry_schemas, "TIMEOUT_S", 120.0)
    made: list[SchemaRegistry] = []

    def make(url: str, **clock: Any) -> MappedDecoder:
        settings = Settings(events_mapping="shop.toml", schema_registry_url=url)
        made.append(SchemaRegistry(settings, answer_s=120, **clock))
        return MappedDecoder(MAPPING, made[-1])

    yield make
    for registry in made:
        registry.close()


def test_avro_of_every_version_of_its_schema_is_read(registry: Registry, decoder_at: MakeDecoder) -> None:
    old, new = (registry.register("avro-value", "AVRO", schema) for schema in (OLD, NEW))
    decoder = decoder_at(registry.url)
    product = {"sku": 17, "price": Decimal("12.50"), "shelf": "A"}
    first = wire(old, avro_record(OLD, visit="s1", product=product))
    expected = Event("s1", AT_MS, "17", "view", price=12.5)
    assert decoder.decode(first, b"s1") == expected
    later = wire(new, avro_record(NEW, visit="s1", product={"article": 17, "price": Decimal("12.50")}))
    assert decoder.decode(later, b"s1") == expected
    assert decoder.decode(first, b"s1") == expected
    for record, reason in (
        ({"visit": "s1", "product": None}, "no_item"),
        ({"visit": "s1", "product": product, "kind": "OTHER"}, "other_kind"),
    ):
        with pytest.raises(RejectedEvent, match=reason):
            decoder.decode(wire(old, avro_record(OLD, **record)))
    for broken in (first[:9], wire(old, b"\xff" * 40), wire(old, b"")):
        with pytest.raises(RejectedEvent, match="schema"):
            decoder.decode(broken)


def test_avro_with_a_schema_of_its_own_for_a_part_is_read(
    registry: Registry, decoder_at: MakeDecoder
) -> None:
    product = {
        "type": "record",
        "name": "Goods",
        "namespace": "shop",
        "fields": [{"name": "sku", "type": "int"}],
    }
    registry.register("goods", "AVRO", product)
    whole = avro([])
    whole["fields"][1] = {"name": "product", "type": "shop.Goods"}
    schema = registry.register(
        "parts-value",
        "AVRO",
        whole,
        references=[{"name": "shop.Goods", "subject": "goods", "version": 1}],
    )
    whole["fields"][1] = {"name": "product", "type": product}
    value = wire(schema, avro_record(whole, visit="s1", product={"sku": 3}))
    assert decoder_at(registry.url).decode(value).item_id == "3"


PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Envelope { string id = 1; message Click {
  string visit = 1; Product product = 2; google.protobuf.Timestamp at = 3; Kind kind = 4;
} }
enum Kind { VIEW = 0; CART = 1; OTHER = 2; }
message Product { int64 sku = 1; google.protobuf.DoubleValue price = 2; map<string, string> tags = 3; }
"""
# The click of PROTO: its message is the first inner one of the first: places 0, 0.
PROTO_CLICK = (
    b"\x0a\x02s1"  # visit
    b"\x12\x0d\x08\x11\x12\x09\x09" + b"\0\0\0\0\0\0\x29\x40"  # product: sku 17, price 12.5
    b"\x1a\x0b\x08\x80\xe2\xcf\xaa\x06\x10\xc0\xa9\xd3\x3a"  # at: seconds, nanoseconds
)
INDEXES = b"\x04\x00\x00"


def test_protobuf_is_read_by_the_text_of_its_schema(registry: Registry, decoder_at: MakeDecoder) -> None:
    schema = registry.register("proto-value", "PROTOBUF", PROTO)
    decoder = decoder_at(registry.url)
    event = decoder.decode(wire(schema, PROTO_CLICK, INDEXES), b"s1")
    assert event == Event("s1", AT_MS, "17", "view", price=12.5)
    assert decoder.decode(wire(schema, PROTO_CLICK + b"\x20\x01", INDEXES)).kind == "cart"
    # A field that a later schema has.
    assert decoder.decode(wire(schema, PROTO_CLICK + b"\x4a\x01x", INDEXES)) == event
    for value in (PROTO_CLICK[:-4], b"\xff\xff"):
        with pytest.raises(RejectedEvent, match="schema"):
            decoder.decode(wire(schema, value, INDEXES))
    with pytest.raises(RejectedEvent, match="schema"):
        decoder.decode(wire(schema, PROTO_CLICK, b"\x02\x7e"))


def test_json_schema_and_plain_json_are_read(registry: Registry, decoder_at: MakeDecoder) -> None:
    schema = registry.register("json-value", "JSON", {"type": "object", "properties": {"visit": {}}})
    decoder = decoder_at(registry.url)
    record = {"visit": "s1", "product": {"sku": 17, "price": "12.5"}, "at": AT_MS, "kind": "view"}
    value = json.dumps(record).encode()
    expected = Event("s1", AT_MS, "17", "view", price=12.5)
    assert decoder.decode(wire(schema, value)) == expected == decoder.decode(value)
    with pytest.raises(RejectedEvent, match="other_kind"):
        decoder.decode(wire(schema, json.dumps({**record, "kind": 7, "visit": [1]}).encode()))


def test_what_is_known_needs_no_registry_and_what_is_not_waits(
    registry: Registry, decoder_at: MakeDecoder
) -> None:
    schema = registry.register("away-value", "AVRO", OLD)
    value = wire(schema, avro_record(OLD, visit="s1", product={"sku": 1, "price": None, "shelf": ""}))
    port, now_s = free_port(), [0.0]
    decoder = decoder_at(f"http://127.0.0.1:{port}/apis/ccompat/v7", now_s=lambda: now_s[0])
    with pytest.raises(SchemaAwayError, match="the registry does not answer"):
        decoder.decode(value)
    with registry.way(port) as asked:
        assert decoder.decode(value).item_id == "1"
        assert decoder.decode(value).item_id == "1"
        assert len([path for path in asked if f"/schemas/ids/{schema}" in path]) == 1
        # An id that it does not have may be one that another of its nodes has: for a while.
        with pytest.raises(SchemaAwayError, match="has no such schema"):
            decoder.decode(wire(987_654, b"x"))
        now_s[0] += UNKNOWN_AFTER_S
        with pytest.raises(RejectedEvent, match="no_schema"):
            decoder.decode(wire(987_654, b"x"))
    assert decoder.decode(value).item_id == "1"
    with pytest.raises(SchemaAwayError):
        decoder.decode(wire(987_655, b"x"))


def test_a_reader_that_has_nothing_else_to_do_waits(registry: Registry, decoder_at: MakeDecoder) -> None:
    schema = registry.register("patient-value", "AVRO", OLD)
    value = wire(schema, avro_record(OLD, visit="s1", product={"sku": 1, "price": None, "shelf": ""}))
    port = free_port()
    way = registry.way(port)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            way.__enter__()

    decoder = PatientDecoder(decoder_at(f"http://127.0.0.1:{port}/apis/ccompat/v7"), sleep)
    try:
        assert decoder.decode(value).item_id == "1"
    finally:
        way.__exit__(None, None, None)
    assert len(waits) == 2


def test_a_worker_goes_on_with_the_schemas_that_it_knows(
    make_settings: MakeSettings, registry: Registry, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / "shop.toml"
    file.write_text(MAPPING.as_toml())
    made = make_settings(partitions=2)
    settings = made.model_copy(
        update={
            "events_mapping": str(file),
            "schema_registry_url": f"http://127.0.0.1:{port}/apis/ccompat/v7",
        }
    )
    settings.model_fields_set.update(("events_mapping", "schema_registry_url"))
    train_small(shoppers, Models(settings.registry_dir))
    old, new = (registry.register("worker-value", "AVRO", schema) for schema in (OLD, NEW))
    first, second = (
        next(f"s{n}" for n in range(99) if partition_of(f"s{n}", 2) == place) for place in (0, 1)
    )
    producer = Producer(settings.producer_config())

    def send(session: str, schema: int) -> None:
        name, one = ("sku", OLD) if schema == old else ("article", NEW)
        record = avro_record(one, visit=session, product={name: 1, "price": None, "shelf": ""})
        producer.produce(settings.events_topic, wire(schema, record), session.encode(), timestamp=AT_MS)

    def read(count: int) -> Any:
        return lambda status: status["accounting"]["read"] == count and status["accounting"]["holds"]

    send(first, old)
    send(second, old)
    producer.flush()
    with worker(settings, tmp_path) as process:
        with registry.way(port):
            process.wait_until(read(2), "the schema that is known")
        # The registry is away: one partition waits at its second record, the other goes on.
        for schema in (new, old, new):
            send(first, schema)
        for _ in range(3):
            send(second, old)
        producer.flush()
        status = process.wait_until(
            lambda status: read(5)(status) and status["waiting"] and status["lag"] == 3, "the other partition"
        )
        assert list(status["waiting"]) == [str(partition_of(first, 2))]
        assert f"schema {new}: the registry does not answer" in status["waiting"][str(partition_of(first, 2))]
        # What comes behind it is lag, too.
        send(first, old)
        producer.flush()
        process.wait_until(lambda status: status["lag"] == 4, "the lag of the partition that waits")
        assert (
            b"nextclick_waiting_partitions 1.0" in urllib.request.urlopen(f"{process.address}/metrics").read()
        )
        with registry.way(port):
            process.wait_until(read(9), "what had waited")
            status = process.wait_until(
                lambda status: not status["waiting"] and status["lists"] == 9, "nothing waits"
            )
        assert status["accounting"]["dead_lettered"] == status["accounting"]["left_out"] == 0
        # It ends in peace while a partition waits.
        third = registry.register("third-value", "AVRO", {**NEW, "doc": "another"})
        send(first, third)
        producer.flush()
        process.wait_until(lambda status: bool(status["waiting"]), "a schema again")
        assert process.stop() == 0, process.log()
    with registry.way(port), worker(settings, tmp_path) as process:
        process.wait_until(read(1), "the last record")
        assert process.stop() == 0
    assert not list(letters(settings))


def test_settings_without_the_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(events_mapping="segment", schema_registry_url="http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(NextclickError) as caught:
        decoder_of(settings)
    assert "pip install '.[registry]'" in caught.value.remedy
