"""The contract of the topics as an AsyncAPI 3 document, made from the code that reads and writes them.

Payloads come from the structs that decode them, partitions and retention from the topic plans,
examples from the encoders. Checks of the decoder beyond types are added here in JSON Schema, or in
words where JSON Schema cannot express them. Connects to no broker.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stream.asyncapi_lists import DIGITS, EVENT_TIME_MS, MODEL_VERSION, TEXT, list_messages
from stream.asyncapi_parts import BINDING, Schema, example, message, operation, ref
from stream.catalogue.item_word import MAX_ID_BYTES, MAX_WORD_BYTES, ItemWord, encode_word
from stream.catalogue.purchases import Bought, encode_purchase
from stream.events import (
    ENDINGS,
    FORGET,
    MAX_EVENT_BYTES,
    MAX_LETTER_BYTES,
    REASONS,
    Event,
    PlacedRecommendation,
    Recommendation,
    encode_event,
)
from stream.experiments.experiment import SPLIT, Experiment, encode_experiment
from stream.kafka.announcements import EXPERIMENT_KEY, KEY, SHADOW_KEY, Announcement, ShadowAnnouncement
from stream.kafka.topics import TopicPlan, optional_plans, outcomes_plan, plans
from stream.outcomes.outcome import Outcome
from stream.settings import Settings

# The version of the contract; its first number grows when a reader or a writer has to change.
VERSION = "1.1.0"

OTHER_VERSION = "20260102T120000000Z-5e6f7a8b"


def schemas() -> dict[str, Schema]:
    """The JSON Schema (draft 7) of every payload by name, as its decoder accepts it."""
    _, found = msgspec.json.schema_components(
        [
            Event,
            Recommendation,
            PlacedRecommendation,
            Outcome,
            Announcement,
            ShadowAnnouncement,
            Experiment,
            ItemWord,
            Bought,
        ],
        ref_template="#/components/schemas/{name}",
    )
    # Only what ends a session has no item.
    found["Event"] |= {
        "if": {"properties": {"kind": {"enum": list(ENDINGS)}}, "required": ["kind"]},
        "else": {"properties": {"item_id": {"minLength": 1}}, "required": ["item_id"]},
    }
    return found


def letter_headers() -> Schema:
    """JSON Schema of a dead letter's headers, read as text."""
    required = {
        "reason": {"enum": list(REASONS), "description": "why the record is no event"},
        "topic": {**TEXT, "description": "where it was read"},
        "partition": DIGITS,
        "offset": DIGITS,
    }
    cut = {
        "type": "string",
        "pattern": "^[0-9]+,[0-9]+$",
        "description": "bytes of key and value before they were cut off",
    }
    return {"type": "object", "properties": {**required, "cut_from": cut}, "required": list(required)}


def messages() -> dict[str, Schema]:
    """Every message by name: key, headers, payload and examples that its decoder accepts."""
    event = Event("8f2c", EVENT_TIME_MS, "sku-1042", "view", price=12.5, category="mugs", title="White mug")
    end = Event("8f2c", EVENT_TIME_MS + 60_000, "", "session_end")
    forget = Event("8f2c", EVENT_TIME_MS + 90_000, "", FORGET)
    letter = {"reason": "schema", "topic": "events", "partition": "2", "offset": "8"}
    shadow = ShadowAnnouncement(MODEL_VERSION, 0.2)
    said = ItemWord("White mug", "Acme", ["kitchen", "mugs"], 12.5, url="https://shop.example/sku-1042")
    return {
        "event": message(
            "An event of a session.",
            "The key is the session id in UTF-8 (without a key, a session's events lose their order); the "
            f"record's timestamp is the event time. A value of over {MAX_EVENT_BYTES} bytes is rejected, and "
            "so is a time further ahead of the wall clock than the workers' `max_future_s`, or before their "
            "`min_event_time_ms`. "
            "`event_time_ms` is written without fraction and exponent. Fields that are not named here are "
            "ignored.",
            ref("Event"),
            key={"type": "string", "minLength": 1, "maxLength": 256, "description": "the session id"},
            examples=[
                example("view", encode_event(event)),
                example("end", encode_event(end)),
                example("forget", encode_event(forget)),
            ],
        ),
        **list_messages(),
        "champion": message(
            "The model version that is to serve.",
            "A worker loads it from the registry, verifies it, and refuses what it cannot serve.",
            ref("Announcement"),
            key={"type": "string", "const": KEY.decode()},
            examples=[example("champion", msgspec.json.encode(Announcement(MODEL_VERSION)))],
        ),
        "shadow": message(
            "The version that steps unseen beside it, and for which share of sessions.",
            "No value ends the shadow.",
            {"oneOf": [ref("ShadowAnnouncement"), {"type": "null"}]},
            key={"type": "string", "const": SHADOW_KEY.decode()},
            examples=[example("shadow", msgspec.json.encode(shadow))],
        ),
        "experiment": message(
            "The two versions that serve, for which share of sessions, and how.",
            "`split`: each session is served by one of them. `interleave`: the share's lists are drafted "
            "from both. No value ends the experiment; it waits while another champion serves.",
            {"oneOf": [ref("Experiment"), {"type": "null"}]},
            key={"type": "string", "const": EXPERIMENT_KEY.decode()},
            examples=[
                example(
                    "split",
                    encode_experiment(Experiment("3f2a9c1e", MODEL_VERSION, OTHER_VERSION, 0.2, SPLIT)),
                )
            ],
        ),
        "deadLetter": {
            **message(
                "A record of `events` that is no event, as it came.",
                "Key and value are the bytes of the record. Where they are more than "
                f"{MAX_LETTER_BYTES} together, each keeps its first {MAX_LETTER_BYTES // 2}, and a header "
                "says how many there were.",
                {"description": "any bytes, or none"},
                key={"description": "any bytes, or none"},
                headers=letter_headers(),
                examples=[{"name": "letter", "headers": letter, "payload": '{"session_id": 7}'}],
            ),
            "contentType": "application/octet-stream",
        },
        "purchase": message(
            "When a user has bought an item.",
            "The newest record of a key counts; one without a value takes the purchase back. Workers send "
            "one for each event of kind purchase with a user id, at least once, and all of them read it: "
            "lists under the rule `bought_days` are without the item in whichever session of the user.",
            {"oneOf": [ref("Bought"), {"type": "null"}]},
            key={"type": "string", "description": "JSON: a list of the user's id and the item's id"},
            examples=[example("purchase", encode_purchase("u-17", "sku-1042", EVENT_TIME_MS)[1] or b"")],
        ),
        "item": message(
            "What the shop says of an item.",
            "The newest record of a key counts; one without a value takes back what was said. An item "
            "that is not available is in no list of a worker that has read so. A record that is no word "
            f"about an item (a value of over {MAX_WORD_BYTES:,} bytes, a price below 0, a time that ends "
            "before it begins, a category that comes twice in its own path) is counted, and what was said "
            "before stays. Fields that are not named here are ignored.",
            {"oneOf": [ref("ItemWord"), {"type": "null"}]},
            key={"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES, "description": "the item's id"},
            examples=[
                example("available", encode_word(said)),
                example("sold out", encode_word(ItemWord(available=False))),
            ],
        ),
    }


def document(settings: Settings) -> dict[str, Any]:
    """The AsyncAPI 3.0 document with the names, partitions and brokers of `settings`.

    >>> document(Settings(events_topic="clicks"))["channels"]["events"]["address"]
    'clicks'
    """
    events, recommendations, models, letters = plans(settings)
    items, purchases, placements = optional_plans(settings)
    outcomes = outcomes_plan(settings)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "nextclick",
            "version": VERSION,
            "description": "Events of sessions in; after each event a fresh list for its session out.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            f"kafka{number or ''}": {
                "host": host.strip(),
                "protocol": "kafka-secure" if settings.has_tls else "kafka",
            }
            for number, host in enumerate(settings.bootstrap_servers.split(","))
        },
        "channels": {
            "events": _channel(events, settings, "What sessions did.", "event"),
            "recommendations": _channel(
                recommendations, settings, "What sessions are shown.", "recommendation"
            ),
            "models": _channel(models, settings, "Which versions step.", "champion", "shadow", "experiment"),
            "deadLetters": _channel(letters, settings, "What could not be read.", "deadLetter"),
            "items": _channel(items, settings, "What the shop says of its items.", "item"),
            "purchases": _channel(purchases, settings, "What each user has bought, and when.", "purchase"),
            "placements": _channel(
                placements, settings, "What sessions are shown in published placements.", "placedList"
            ),
            "outcomes": _channel(outcomes, settings, "What came of each list.", "outcome"),
        },
        "operations": {
            "readEvents": operation("receive", "events", "A worker steps each event once."),
            "publishLists": operation("send", "recommendations", "A worker publishes a list for each event."),
            "publishPlacements": operation(
                "send", "placements", "A worker publishes a list for each event and published placement."
            ),
            "recordOutcomes": operation("send", "outcomes", "`nextclick outcomes` says what came of lists."),
            "publishDeadLetters": operation("send", "deadLetters", "A worker keeps what is no event."),
            "announceModels": operation("send", "models", "A promotion or a retraining tells the workers."),
            "followModels": operation("receive", "models", "A worker changes over while it runs."),
            "keepPurchases": operation("send", "purchases", "A worker keeps what a user buys."),
            "followPurchases": operation("receive", "purchases", "No worker lists what was just bought."),
            "obeyItems": operation("receive", "items", "A worker lists what may be listed."),
        },
        "components": {"messages": messages(), "schemas": schemas()},
    }


def _channel(plan: TopicPlan, settings: Settings, summary: str, *names: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: value.split(",") if name == "cleanup.policy" else int(value)
        for name, value in plan.config.items()
    }
    return {
        "address": plan.name,
        "summary": summary,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": plan.name,
                "partitions": plan.partitions,
                "replicas": settings.replication_factor,
                "topicConfiguration": config,
                "bindingVersion": BINDING,
            }
        },
    }
