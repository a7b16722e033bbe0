"""Microseconds of a core to read an event: nextclick's own JSON, a shop's by mapping, and Avro by its schema.

The same events in each form, read by the worker's own decoders in turns, round after round; the shop's
records have a dozen fields beside those that are read. `share_of_worker` is the part of its rate that a
mapping costs a worker of `--worker-us` core microseconds an event (`nextclick bench stream` measures them).
The schema is at hand, as it is for all records but the first.

    python deploy/benchmarks/decoding.py --events 20000 --rounds 15
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from deploy.benchmarks.measure.process import machine, show
from stream.event_decoder import OWN_EVENTS
from stream.events import Event, Kind, encode_event
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.registry_schemas import RegisteredSchema, SchemaRegistry, import_registry
from stream.log_mapping import LogMapping

START_MS = 1_700_000_000_000
GOALS = {"json": 0.10, "avro": 0.15}
WORDS: dict[Kind, str] = {"view": "product_view", "cart": "basket_add", "purchase": "order"}
MAPPING = LogMapping(
    {
        "session": "visit.id",
        "item": "product.sku",
        "time": "at",
        "kind": "action",
        "user": "visit.user",
        "price": "product.price",
        "brand": "product.brand",
    },
    kinds={word: kind for kind, word in WORDS.items()},
    time_unit="ms",
)
TEXT = "string"
VISIT = {
    "type": "record",
    "name": "Visit",
    "fields": [{"name": name, "type": TEXT} for name in ("id", "user", "device", "country", "referrer")],
}
PRODUCT = {
    "type": "record",
    "name": "Product",
    "fields": [
        *({"name": name, "type": TEXT} for name in ("sku", "name", "brand", "shelf")),
        {"name": "price", "type": "double"},
        {"name": "stock", "type": "int"},
        {"name": "tags", "type": {"type": "array", "items": TEXT}},
    ],
}
CLICK = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "action", "type": TEXT},
        {"name": "at", "type": "long"},
        {"name": "visit", "type": VISIT},
        {"name": "product", "type": PRODUCT},
        {"name": "page", "type": ["null", TEXT]},
        {"name": "experiment", "type": ["null", TEXT]},
    ],
}


class KnownSchema:
    """What the decoder asks of a schema registry, of one schema that is at hand."""

    latest = None

    def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of clicks."""
        return RegisteredSchema(schema_id, "AVRO", json.dumps(CLICK))


class Records(NamedTuple):
    """The records of the same events, and what reads them."""

    values: list[bytes]
    keys: list[bytes]
    decode: Callable[..., Event]


def made_events(count: int) -> list[Event]:
    """Clicks of a shop, the same ones each time."""
    chance = np.random.default_rng(0)
    kinds = chance.choice(list(WORDS), count, p=[0.9, 0.07, 0.03]).tolist()
    numbers = np.minimum(chance.zipf(1.3, count), 50_000).tolist()
    sessions = chance.integers(0, count // 5 + 1, count).tolist()
    return [
        Event(
            f"{session:032x}",
            START_MS + 40 * row,
            f"SKU-{number:06d}",
            kind,
            user_id=f"u{session % 9_999}",
            price=round(5.99 + number % 400, 2),
            brand=f"brand {number % 300}",
        )
        for row, (kind, number, session) in enumerate(zip(kinds, numbers, sessions, strict=True))
    ]


def shop_record(event: Event) -> dict[str, Any]:
    """An event as a shop's own record."""
    assert event.kind in WORDS
    return {
        "action": WORDS[event.kind],
        "at": event.event_time_ms,
        "visit": {
            "id": event.session_id,
            "user": event.user_id,
            "device": "phone",
            "country": "DE",
            "referrer": "https://search.example/?q=white+mug",
        },
        "product": {
            "sku": event.item_id,
            "name": f"A product with a name of usual length, {event.item_id}",
            "brand": event.brand,
            "shelf": "home/kitchen/mugs",
            "price": event.price,
            "stock": 12,
            "tags": ["new", "summer"],
        },
        "page": "https://shop.example/p/white-mug",
        "experiment": None,
    }


def in_each_form(events: list[Event]) -> dict[str, Records]:
    """The events' records by the name of their form."""
    fastavro = import_registry("fastavro")
    parsed = fastavro.parse_schema(CLICK)

    def avro(record: dict[str, Any]) -> bytes:
        written = io.BytesIO(b"\0\0\0\0\1")
        written.seek(5)
        fastavro.schemaless_writer(written, parsed, record)
        return written.getvalue()

    keys = [event.session_id.encode() for event in events]
    shop = [shop_record(event) for event in events]
    schema = cast(SchemaRegistry, KnownSchema())
    return {
        "own": Records([encode_event(event) for event in events], keys, OWN_EVENTS.decode),
        "json": Records([json.dumps(one).encode() for one in shop], keys, MappedDecoder(MAPPING).decode),
        "avro": Records([avro(one) for one in shop], keys, MappedDecoder(MAPPING, schema).decode),
    }


def core_us(records: Records) -> float:
    """Microseconds of this thread to read one of the records, on average."""
    begun_s = time.thread_time()
    for value, key in zip(records.values, records.keys, strict=True):
        records.decode(value, key, START_MS)
    return (time.thread_time() - begun_s) / len(records.values) * 1e6


def main() -> int:
    """Print the figures; 1 where the forms are read as other events, or a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench decoding",
        description=__doc__.splitlines()[0],
        epilog="example: nextclick bench decoding --events 20000 --rounds 15",
    )
    parser.add_argument("--events", type=int, default=20_000, help="read in each round")
    parser.add_argument("--rounds", type=int, default=15, help="in turns")
    parser.add_argument("--worker-us", type=float, default=86.0, help="what an event costs the worker")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    events = made_events(arguments.events)
    forms = in_each_form(events)
    for name, records in forms.items():
        read = [records.decode(*pair, START_MS) for pair in zip(records.values, records.keys, strict=True)]
        if read != events:
            print(f"error: {name}: read as other events", file=sys.stderr)
            return 1
    rounds = [{name: core_us(records) for name, records in forms.items()} for _ in range(arguments.rounds)]
    median = {name: statistics.median(one[name] for one in rounds) for name in forms}
    more = {name: statistics.median(one[name] - one["own"] for one in rounds) for name in GOALS}
    # Of two workers the one that reads by mapping has this share of the other's rate less.
    share = {name: us / (arguments.worker_us + us) for name, us in more.items()}
    result = {
        "core_us": {name: round(us, 2) for name, us in median.items()},
        "bytes": {name: round(sum(map(len, one.values)) / len(events)) for name, one in forms.items()},
        "share_of_worker": {name: round(one, 3) for name, one in share.items()},
        "goal": GOALS,
        "worker_us": arguments.worker_us,
        "machine": machine(),
    }
    show(result, arguments.json, json.dumps)
    return int(any(share[name] > goal for name, goal in GOALS.items()))


if __name__ == "__main__":
    sys.exit(main())
