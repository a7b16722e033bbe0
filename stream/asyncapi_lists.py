"""What the AsyncAPI document says of lists: those of events, those of placements, and what came of them.

Tested by tests/unit/stream/test_asyncapi.py.
"""

from __future__ import annotations

import numpy as np

from stream.asyncapi_parts import Schema, example, message, ref
from stream.events import FALLBACKS, PLACEMENT, encode_recommendation
from stream.experiments.experiment import CHALLENGER, HEADERS
from stream.outcomes.outcome import PURCHASE, Outcome, Taken, encode_outcome
from stream.wave.load_shedding import LEVELS

TEXT: Schema = {"type": "string", "minLength": 1}
DIGITS: Schema = {"type": "string", "pattern": "^[0-9]+$"}
SESSION_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 256, "description": "the session id"}
EVENT_TIME_MS, EVENT_ID = 1_506_826_800_000, "2-7"
MODEL_VERSION = "20260101T120000000Z-1a2b3c4d"
SHOWN_HEADERS = {
    "model": MODEL_VERSION, "position": "3", "wave": "17", "queued_us": "2100", "stepped_us": "5300",
}  # fmt: skip
SHOWN = ("8f2c", EVENT_ID, EVENT_TIME_MS, MODEL_VERSION, ["sku-2001", "sku-17"])
OUTCOME = Outcome(
    *SHOWN,
    [Taken("2-9", "sku-17", PURCHASE, 2, 61_000, price=12.5)],
    1_800_000,
    next_place=2,
    position=3,
    experiment="3f2a9c1e",
    side=CHALLENGER,
    propensity=0.2,
)


def list_headers() -> Schema:
    """JSON Schema of a list's headers, read as text."""
    required = {
        "model": {**TEXT, "description": "the version that computed the list"},
        "position": {
            **DIGITS,
            "description": "of the event in its session, from 1; after a dismissal of the event before",
        },
        "wave": {**DIGITS, "description": "events that were stepped together"},
        "queued_us": {**DIGITS, "description": "from the event's arrival to its wave's start, µs"},
        "stepped_us": {**DIGITS, "description": "that its wave took, µs"},
    }
    optional = {
        "level": {"enum": list(LEVELS[1:]), "description": "what the worker leaves out while it lags behind"},
        "items": {
            "type": "string",
            "pattern": "^[0-9]+-[0-9-]+(,[0-9]+-[0-9-]+)*$",
            "description": "partition-offset: the list obeys what is said of the items up to there",
        },
        "fallback": {"enum": list(FALLBACKS), "description": "why the list is not of the event's own step"},
        **HEADERS,
    }
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def placed_headers() -> Schema:
    """JSON Schema of the headers of a placement's list, read as text."""
    headers = list_headers()
    named = {
        "placement": {"type": "string", "pattern": PLACEMENT, "description": "the name in the rules"},
        "rules": {"type": "string", "description": "the version of the rules that the list obeys"},
    }
    return {
        **headers,
        "properties": {**named, **headers["properties"]},
        "required": [*named, *headers["required"]],
    }


def list_messages() -> dict[str, Schema]:
    """The messages of lists by name."""
    scores = np.array([4.25, 3.5], np.float32)
    named = {"placement": "basket", "rules": "5d1e8a90c2b7"}
    return {
        "recommendation": message(
            "The list that a session is shown after an event, best item first.",
            "At least once: after a restart lists come again, with the same `event_id`. `event_id` is "
            "partition and offset of the list's event, so of two lists of a session that with the larger "
            "offset is the newer. `scores` belong to `items` one by one. Fields and headers that are not "
            "named here may be added.",
            ref("Recommendation"),
            key=SESSION_KEY,
            headers=list_headers(),
            examples=[example("list", encode_recommendation(*SHOWN, scores), SHOWN_HEADERS)],
        ),
        "placedList": message(
            "The list of a placement for a session after an event, best item first.",
            "One for each list on `recommendations` and each placement that the rules publish, written "
            "before the event counts as done; at least once, as those. Of two lists of a session and a "
            "placement that with the larger offset in `event_id` is the newer. An empty list takes the "
            "place of a forgotten session's.",
            ref("PlacedRecommendation"),
            key=SESSION_KEY,
            headers=placed_headers(),
            examples=[
                example("basket", encode_recommendation(*SHOWN, scores, "basket"), {**named, **SHOWN_HEADERS})
            ],
        ),
        "outcome": message(
            "What came of a list: the later events of its session on its items.",
            "One for each list, once its time is over, also where nothing was taken. Written in "
            "transactions: with `isolation.level=read_committed` each is there once. `next_place` is null "
            "where the session had no further event in time, and 0 where the item of that was not listed.",
            ref("Outcome"),
            key=SESSION_KEY,
            examples=[example("bought", encode_outcome(OUTCOME))],
        ),
    }
