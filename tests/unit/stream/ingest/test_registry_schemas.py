"""Schemas are asked for beside the reading: by a registry that swallows requests, lacks ids, or renames."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest

from stream.event_decoder import GIVEN_UP_S, PatientDecoder, SchemaAwayError
from stream.events import Event, RejectedEvent
from stream.ingest import registry_schemas
from stream.ingest.mapped_decoder import MappedDecoder
from stream.ingest.registry_schemas import ASK_AGAIN_S, UNKNOWN_AFTER_S, RegisteredSchema, SchemaRegistry
from stream.log_mapping import LogMapping
from stream.settings import Settings


def click(item: str, *aliases: str) -> dict[str, Any]:
    """A schema of clicks whose item has this name."""
    fields = [
        {"name": "visit", "type": "string"},
        {"name": item, "type": "string", **({"aliases": list(aliases)} if aliases else {})},
        {"name": "at", "type": "long"},
    ]
    return {"type": "record", "name": "Click", "fields": fields}


class FakeRegistry:
    """Answers for `schemas` and for `latest`; swallows the ids in `swallowed` until `release` is set."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.latest: dict[str, int] = {}
        self.swallowed: set[int] = set()
        self.release = threading.Event()
        self.asked: list[str] = []
        registry = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                parts = self.path.partition("?")[0].split("/")
                number = registry.latest.get(parts[2], 0) if parts[1] == "subjects" else int(parts[3])
                if number in registry.swallowed:
                    registry.release.wait(300)
                schema = registry.schemas.get(number)
                body: dict[str, Any] = {"error_code": 40403, "message": "none"}
                if schema is not None:
                    body = {"schema": json.dumps(schema), "id": number, "version": 1, "subject": parts[2]}
                text = json.dumps(body).encode()
                self.send_response(404 if schema is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    fake = FakeRegistry()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield fake
    fake.release.set()
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


Make = Callable[..., SchemaRegistry]


@pytest.fixture
def client_of(registry: FakeRegistry) -> Iterator[Make]:
    made: list[SchemaRegistry] = []

    def make(subject: str = "", **given: Any) -> SchemaRegistry:
        settings = Settings(events_mapping="shop.toml", schema_registry_url=registry.url)
        made.append(SchemaRegistry(settings, subject, **{"answer_s": 120.0, **given}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def eventually(client: SchemaRegistry, schema_id: int) -> RegisteredSchema:
    """The schema of an id, asked for again and again as a partition that waits does."""
    deadline_s = time.monotonic() + 120
    while True:
        try:
            return client.schema(schema_id)
        except SchemaAwayError:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_a_registry_that_swallows_requests_holds_up_nothing_that_is_known(
    registry: FakeRegistry, client_of: Make
) -> None:
    registry.schemas = {1: click("sku"), 2: click("sku")}
    registry.swallowed = {2}
    client = client_of(answer_s=0.01)
    known = eventually(client, 1)
    with pytest.raises(SchemaAwayError, match="the registry does not answer"):
        client.schema(2)
    # The question is under way all the while: what is known is given.
    assert client.schema(1) is known
    with pytest.raises(SchemaAwayError, match="the registry does not answer"):
        client.schema(2)
    registry.swallowed = set()
    registry.release.set()
    assert eventually(client, 2).schema_id == 2


def test_an_id_that_the_registry_does_not_have_is_waited_for_once_and_little_is_remembered(
    registry: FakeRegistry, client_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_schemas, "MOST_UNKNOWN", 8)
    monkeypatch.setattr(registry_schemas, "TIMEOUT_S", 120.0)
    now_s = [0.0]
    client = client_of(now_s=lambda: now_s[0])
    for number in range(100, 120):
        with pytest.raises(SchemaAwayError, match="the registry has no such schema"):
            client.schema(number)
    assert len(client._unknown) == 8
    now_s[0] += UNKNOWN_AFTER_S
    asked = len(registry.asked)
    for _ in range(3):
        with pytest.raises(RejectedEvent, match="no_schema"):
            client.schema(119)
    assert len(registry.asked) <= asked + 1
    # Registered since: it is asked for again later.
    registry.schemas[119] = click("sku")
    now_s[0] += ASK_AGAIN_S
    assert client.schema(119).schema_id == 119


@pytest.mark.parametrize(("subject", "item"), [("clicks-value", "17"), ("of-others", None)])
def test_a_field_that_the_newest_schema_renames_is_found_in_the_first_record(
    registry: FakeRegistry,
    client_of: Make,
    monkeypatch: pytest.MonkeyPatch,
    subject: str,
    item: str | None,
) -> None:
    monkeypatch.setattr(registry_schemas, "TIMEOUT_S", 120.0)
    registry.schemas = {1: click("sku"), 2: click("article", "sku")}
    registry.latest = {"clicks-value": 2}
    mapping = LogMapping({"session": "visit", "item": "article", "time": "at"}, time_unit="ms")
    decoder = MappedDecoder(mapping, client_of(subject))
    out = io.BytesIO()
    record = {"visit": "s", "sku": "17", "at": 1_700_000_000_000}
    fastavro.schemaless_writer(out, fastavro.parse_schema(click("sku")), record)
    value = b"\0" + (1).to_bytes(4, "big") + out.getvalue()
    if item is None:
        with pytest.raises(RejectedEvent, match="no_item"):
            decoder.decode(value)
    else:
        assert decoder.decode(value) == Event("s", 1_700_000_000_000, "17")


def test_a_reader_waits_no_longer_than_it_may_and_then_not_again_for_a_while() -> None:
    class Away:
        reads_record = False
        session_gap_s: float | None = None

        def decode(self, *_: object) -> Event:
            raise SchemaAwayError(7, "the registry does not answer")

    waits: list[float] = []
    now_s = [0.0]
    decoder = PatientDecoder(Away(), waits.append, most_s=3, now_s=lambda: now_s[0])
    for _ in range(5):
        with pytest.raises(RejectedEvent, match="no_schema"):
            decoder.decode(b"x")
    assert len(waits) == 2
    now_s[0] += GIVEN_UP_S
    with pytest.raises(RejectedEvent, match="no_schema"):
        decoder.decode(b"x")
    assert len(waits) == 4
