"""A shop's log as nobody else writes it: semicolons, German names, local times, and the same as JSON.

Sessions of five events on average follow one another through related products, so that there is something
to learn. Knows no mapping and no name of the project's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

ZONE = ZoneInfo("Europe/Berlin")
DAYS = 14
SESSION_EVENTS = 5
PRODUCTS = 400
# One of them is what the README's third command asks for.
ASKED_FOR = "White Mug"
THINGS = ("Teekanne", "Schürze", "Kerzenständer", "Brotdose", "Geschenkpapier", "Uhr")
KINDS = np.array(["angesehen", "Warenkorb", "gekauft"])
HEADER = "Sitzung;Artikelnummer;Bezeichnung;Zeitpunkt;Aktion;Preis (EUR)"


@dataclass(frozen=True)
class OddEvent:
    """What happened, in the shop's own words."""

    session: str
    number: str
    name: str
    at: datetime
    kind: str
    price: float


def odd_events(count: int, end: datetime, seed: int = 0) -> Iterator[OddEvent]:
    """`count` events of the two weeks before `end`, in order of time."""
    chance = np.random.default_rng(seed)
    session = np.sort(chance.integers(0, count // SESSION_EVENTS, count))
    first = np.searchsorted(session, session)
    place = np.arange(count) - first
    begins_s = np.sort(chance.uniform(-DAYS * 86_400, -3_600, count // SESSION_EVENTS))[session]
    at_s = (end.timestamp() + begins_s + place * 45).astype(np.int64)
    # The next product is mostly the one that goes with the last.
    product = (np.minimum(chance.zipf(1.3, count), PRODUCTS)[first] + place * 7) % PRODUCTS
    product = np.where(chance.random(count) < 0.3, chance.integers(0, PRODUCTS, count), product)
    kind = KINDS[np.searchsorted([0.85, 0.95], chance.random(count))]
    for row in np.argsort(at_s, kind="stable").tolist():
        number = int(product[row])
        yield OddEvent(
            f"b{session[row]:06d}",
            f"A-{10_000 + number}",
            f"{THINGS[number % len(THINGS)]} {number}" if number else ASKED_FOR,
            datetime.fromtimestamp(int(at_s[row]), UTC),
            str(kind[row]),
            round(2 + number * 0.35, 2),
        )


def write_odd_csv(path: Path, events: Iterator[OddEvent]) -> None:
    """The events as a German spreadsheet exports them."""
    with path.open("w", encoding="utf-8") as file:
        print(HEADER, file=file)
        for event in events:
            moment = event.at.astimezone(ZONE).strftime("%d.%m.%Y %H:%M:%S")
            price = f"{event.price:.2f}".replace(".", ",")
            print(event.session, event.number, event.name, moment, event.kind, price, sep=";", file=file)


def odd_record(event: OddEvent) -> dict[str, Any]:
    """An event as the shop's own JSON."""
    return {
        "typ": event.kind,
        "zeit": event.at.astimezone(ZONE).isoformat(),
        "besuch": {"sitzung": event.session, "sprache": "de"},
        "artikel": {"nummer": event.number, "bezeichnung": event.name, "preis": event.price},
    }


def send_odd_topic(address: str, topic: str, events: Iterator[OddEvent], partitions: int = 4) -> None:
    """Send the events, keyed by the session, into a topic that is made for them."""
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)
    producer = Producer(
        {"bootstrap.servers": address, "enable.idempotence": True, "partitioner": "murmur2_random"}
    )
    for event in events:
        value = json.dumps(odd_record(event), ensure_ascii=False)
        producer.produce(topic, value, event.session, timestamp=int(event.at.timestamp() * 1000))
        producer.poll(0)
    assert producer.flush(120) == 0
