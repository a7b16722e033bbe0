import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from typer.testing import CliRunner

import nextclick
from stream.asyncapi import document, messages
from stream.catalogue.item_word import decode_word
from stream.catalogue.purchases import decode_purchase
from stream.events import (
    MAX_EVENT_BYTES,
    MAX_EVENT_TIME_MS,
    PlacedRecommendation,
    RejectedEvent,
    decode_event,
    decode_recommendation,
)
from stream.experiments.experiment import decode_experiment
from stream.kafka.announcements import decode_announcement, decode_shadow
from stream.kafka.topics import optional_plans, outcomes_plan, plans
from stream.outcomes.outcome import decode_outcome
from stream.settings import Settings
from tests.conftest import ROOT
from tests.harness.contract import Contract

CONTRACT = Contract(document(Settings()))
GOOD: dict[str, dict[str, Any]] = {
    "event": {"session_id": "s", "event_time_ms": 1_700_000_000_000, "item_id": "i"},
    "recommendation": {
        "session_id": "s", "event_id": "0-7", "event_time_ms": 5, "model_version": "v",
        "items": ["i"], "scores": [1.5],
    },
    "champion": {"version": "v"},
    "shadow": {"version": "v", "share": 0.5},
    "experiment": {"experiment": "e", "champion": "a", "challenger": "b", "share": 0.5, "mode": "split"},
}  # fmt: skip
DECODERS: dict[str, Callable[[bytes], object]] = {
    "event": decode_event,
    "recommendation": decode_recommendation,
    "champion": decode_announcement,
    "shadow": decode_shadow,
    "experiment": decode_experiment,
    "item": lambda value: decode_word(b"i", value),
    "purchase": lambda value: decode_purchase(b'["u","i"]', value),
    "placedList": lambda value: msgspec.json.decode(value, type=PlacedRecommendation),
    "outcome": decode_outcome,
}
NAMES = sorted({"other", "kind", "user_id", "price", "brand", "title"}.union(*GOOD.values()))
# Values at the edges of what some field allows, of its type and of others.
EDGES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 1.5, -2.5, 2**53, 2**63, 2**70, -(2**70), 10**400, 1.7e308, -1.7e308,
    5e-324, MAX_EVENT_TIME_MS, MAX_EVENT_TIME_MS + 1, "", "view", "cart", "purchase", "session_end", "View",
    "0-7", "12-0", "-7", "0-", "0-7-1", "٣-٣", "a" * 256, "a" * 257, "𝄞" * 256, "𝄞" * 257, "ß" * 8192,
    "ß" * 8193, [], [1], ["i"], [None], [1.5, 2], ["1.5"], {}, {"a": 1},
]  # fmt: skip
anything = st.sampled_from(EDGES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def decodes(name: str, value: bytes) -> bool:
    try:
        DECODERS[name](value)
    except (RejectedEvent, msgspec.DecodeError):
        return False
    return True


def whole_but_written_as_a_fraction(record: Any) -> bool:
    """1.0 is an integer to JSON Schema and none to the decoder, which the document says."""
    number = record.get("event_time_ms") if isinstance(record, dict) else None
    return isinstance(number, float) and number.is_integer()


@pytest.mark.parametrize("name", GOOD)
@effort(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_schema_accepts_exactly_what_the_decoder_accepts(name: str, data: st.DataObject) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(NAMES), anything, max_size=3))
    absent = data.draw(st.sets(st.sampled_from(sorted(GOOD[name])), max_size=1))
    record = {key: value for key, value in {**GOOD[name], **changes}.items() if key not in absent}
    assume(not whole_but_written_as_a_fraction(record))
    encoded = json.dumps(record).encode()
    assume(len(encoded) <= MAX_EVENT_BYTES)
    assert CONTRACT.accepts(name, record) == decodes(name, encoded), record


@pytest.mark.parametrize("name", GOOD)
@effort(max_examples=50, deadline=None)
@given(record=anything)
@example(record=None)
def test_what_is_no_object_is_refused_by_both(name: str, record: Any) -> None:
    # No value at all is what ends a shadow or an experiment; JSON's null is none of it.
    assume(name not in ("shadow", "experiment") or record is not None)
    assert CONTRACT.accepts(name, record) == decodes(name, json.dumps(record).encode())


@pytest.mark.parametrize(
    ("record", "accepted"),
    [
        ({"item_id": ""}, False),
        ({"item_id": "", "kind": "view"}, False),
        ({"item_id": "", "kind": "session_end"}, True),
        ({"kind": "session_end"}, True),
        ({"event_time_ms": MAX_EVENT_TIME_MS + 1}, False),
        ({"session_id": "𝄞" * 256}, True),
        ({"session_id": "𝄞" * 257}, False),
        ({"price": 10**400}, False),
        ({"price": 7}, True),
        ({"new_field": {"of": ["tomorrow"]}}, True),
    ],
)
def test_the_edges_of_an_event_are_where_the_schema_says(record: dict[str, Any], accepted: bool) -> None:
    value = {**GOOD["event"], **record}
    if record == {"kind": "session_end"}:
        del value["item_id"]
    assert CONTRACT.accepts("event", value) is accepted
    assert decodes("event", json.dumps(value).encode()) is accepted


def test_a_time_with_a_fraction_is_refused_as_the_document_says() -> None:
    assert "without fraction and exponent" in messages()["event"]["description"]
    assert not decodes("event", b'{"session_id":"s","item_id":"i","event_time_ms":1e3}')


def test_the_document_is_asyncapi_3() -> None:
    schema = json.loads((ROOT / "tests" / "schemas" / "asyncapi-3.0.0.json").read_text())
    validator = Draft7Validator(schema)
    contract = document(Settings())
    assert [error.message for error in validator.iter_errors(contract)] == []
    # The schema does tell: a binding and an action that do not exist are found.
    contract["operations"]["readEvents"]["action"] = "consume"
    contract["channels"]["events"]["bindings"]["kafka"]["partitions"] = "four"
    assert len(list(validator.iter_errors(contract))) >= 2


def test_every_reference_leads_somewhere() -> None:
    contract = document(Settings())
    found = []

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                found.append(CONTRACT.at(node["$ref"]))
            for inner in node.values():
                follow(inner)

    follow(contract)
    assert len(found) > 10


@pytest.mark.parametrize("name", messages())
def test_every_example_is_what_it_is_an_example_of(name: str) -> None:
    message = messages()[name]
    assert message["examples"]
    for shown in message["examples"]:
        assert CONTRACT.accepts(name, shown["payload"])
        assert ("headers" in shown) == ("headers" in message)
        if "headers" in shown:
            assert CONTRACT.headers_problems(name, shown["headers"]) == []
        if name in DECODERS:
            assert decodes(name, json.dumps(shown["payload"]).encode())


def test_channels_are_the_topics_that_are_made() -> None:
    settings = Settings(partitions=12, replication_factor=3, events_topic="clicks", dlq_topic="dead")
    channels = document(settings)["channels"].values()
    assert [channel["address"] for channel in channels] == [
        "clicks", "recommendations", "models", "dead", "items", "nextclick-purchases", "nextclick-placements",
        "outcomes",
    ]  # fmt: skip
    made = [*plans(settings), *optional_plans(settings), outcomes_plan(settings)]
    for channel, plan in zip(channels, made, strict=True):
        binding = channel["bindings"]["kafka"]
        assert (binding["topic"], binding["partitions"], binding["replicas"]) == (
            plan.name,
            plan.partitions,
            3,
        )
        kept = {name: plan.config[name] for name in plan.config}
        told = {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in binding["topicConfiguration"].items()
        }
        assert told == kept


def test_several_brokers_are_several_servers() -> None:
    servers = document(Settings(bootstrap_servers="one:9092, two:9092"))["servers"]
    assert [server["host"] for server in servers.values()] == ["one:9092", "two:9092"]


def test_the_committed_document_is_what_the_code_prints() -> None:
    printed = CliRunner().invoke(nextclick.app, ["asyncapi"])
    assert printed.exit_code == 0
    committed = (ROOT / "deploy" / "asyncapi.yaml").read_text()
    assert printed.stdout == committed, "run `nextclick asyncapi > deploy/asyncapi.yaml`"
    as_json = CliRunner().invoke(nextclick.app, ["asyncapi", "--json"])
    assert json.loads(as_json.stdout) == yaml.safe_load(committed)
    assert math.isclose(
        CONTRACT.at("#/components/schemas/Event/properties/price")["anyOf"][0]["maximum"],
        1.7976931348623157e308,
    )


@pytest.mark.parametrize(("protocol", "said"), [("PLAINTEXT", "kafka"), ("SSL", "kafka-secure")])
def test_a_server_says_whether_it_is_reached_by_tls(protocol: str, said: str) -> None:
    servers = document(Settings(bootstrap_servers="a:1,b:2", security_protocol=protocol))["servers"]
    assert [server["protocol"] for server in servers.values()] == [said, said]
