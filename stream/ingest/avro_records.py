"""Records in Avro, by the schema that each was written with.

A field that a later schema renamed is found under both names: its aliases count as names of it.

Tested by tests/integration/test_schema_registry.py and tests/unit/stream/ingest/test_registry_values.py.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

from stream.events import RejectedEvent
from stream.ingest.column_paths import Path
from stream.ingest.registry_schemas import RegisteredSchema, import_registry

Aliases = dict[str, set[str]]


def avro_reader(schema: RegisteredSchema) -> Callable[[bytes, int], Any]:
    """A function that reads the record of a value from an offset on, as dicts, lists and scalars."""
    fastavro = import_registry("fastavro")
    named: dict[str, Any] = {}
    for _, text in schema.references:
        fastavro.parse_schema(json.loads(text), named_schemas=named)
    parsed = fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
    read = fastavro.schemaless_reader

    def read_record(value: bytes, start: int) -> Any:
        stream = io.BytesIO(value)
        stream.seek(start)
        try:
            return read(stream, parsed, None)
        except (ValueError, LookupError, EOFError, struct.error, OverflowError, TypeError, RecursionError):
            # What fastavro raises on bytes that are of no such record.
            raise RejectedEvent("schema") from None

    return read_record


def aliases_in(text: str) -> Aliases:
    """By name of a field the names that it has elsewhere: an alias's names and a name's aliases.

    >>> aliases_in('{"type": "record", "name": "R", "fields": [{"name": "sku", "aliases": ["id"]}]}')
    {'sku': {'id'}, 'id': {'sku'}}
    """
    found: Aliases = {}

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                walk(one)
        elif isinstance(node, dict):
            for one in node.get("fields", ()):
                for alias in one.get("aliases", ()):
                    found.setdefault(one["name"], set()).add(alias)
                    found.setdefault(alias, set()).add(one["name"])
                walk(one.get("type"))
            for inner in ("type", "items", "values"):
                walk(node.get(inner))

    walk(json.loads(text))
    return found


def with_aliases(paths: Sequence[Path], aliases: Aliases) -> list[Path]:
    """The paths, each followed by what it is under the other names of its fields.

    >>> with_aliases([("product", "sku")], {"sku": {"id"}})
    [('product', 'sku'), ('product', 'id')]
    """
    found: list[Path] = []
    for path in paths:
        several: list[Path] = [()]
        for step in path:
            names = [step, *sorted(aliases.get(step, ()))] if isinstance(step, str) else [step]
            several = [(*before, name) for before in several for name in names]
        found += several
    return found
