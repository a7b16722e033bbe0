"""The contract of the topics, held against records."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Message
from jsonschema import Draft7Validator


class Contract:
    """An AsyncAPI document as validators of its messages."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.messages: dict[str, Any] = document["components"]["messages"]

    def at(self, reference: str) -> Any:
        """What a reference leads to. Raises KeyError where there is nothing."""
        node: Any = self._document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        return node

    def accepts(self, name: str, payload: Any) -> bool:
        """Whether the message's schema accepts a payload."""
        return not self._problems(self.messages[name]["payload"], payload)

    def headers_problems(self, name: str, headers: dict[str, str]) -> list[str]:
        """What the message's schema has against headers; unknown ones count, too."""
        schema = self.messages[name].get("headers", {"type": "object", "properties": {}})
        return self._problems({**schema, "additionalProperties": False}, headers)

    def problems(self, name: str, record: Message) -> list[str]:
        """What the contract has against a record: its key, its headers, its value."""
        message = self.messages[name]
        content = message.get("contentType", self._document["defaultContentType"])
        key, value = record.key(), record.value()
        headers = {
            h: text.decode() for h, text in dict(record.headers() or []).items() if isinstance(text, bytes)
        }
        found = self.headers_problems(name, headers)
        if content == "application/json":
            found += self._problems(
                message["bindings"]["kafka"]["key"], None if key is None else key.decode()
            )
            found += self._problems(message["payload"], None if value is None else json.loads(value))
        return found

    def of_topic(self, address: str) -> list[str]:
        """The names of the messages of a topic."""
        channels = self._document["channels"].values()
        return [name for channel in channels if channel["address"] == address for name in channel["messages"]]

    def _problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        whole = {**schema, "components": self._document["components"]}
        return [error.message for error in Draft7Validator(whole).iter_errors(value)]
