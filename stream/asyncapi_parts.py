"""The parts that an AsyncAPI document is made of: messages, their examples, operations.

Tested by tests/unit/stream/test_asyncapi.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

BINDING = "0.5.0"
Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a payload's schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def example(name: str, value: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """An example of a message, with the value as it lies on the topic."""
    example: dict[str, Any] = {"name": name, "payload": msgspec.json.decode(value)}
    return {**example, "headers": headers} if headers else example


def message(
    summary: str,
    description: str,
    payload: Schema,
    *,
    key: Schema,
    examples: list[dict[str, Any]],
    headers: Schema | None = None,
) -> Schema:
    """One message: its payload, key, headers if it has some, and examples."""
    return {
        "summary": summary,
        "description": description,
        **({"headers": headers} if headers else {}),
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING}},
        "examples": examples,
    }


def operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    """What a process does on a channel: "send" or "receive"."""
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
