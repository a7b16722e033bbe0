"""The values of mapped columns from records in the Confluent wire format: a zero, a schema id, the record.

The format, Avro, Protobuf or JSON Schema, is the schema's. A value that begins otherwise is plain JSON, as
in a topic that changed over to schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stream.events import RejectedEvent
from stream.ingest.avro_records import Aliases, aliases_in, avro_reader, with_aliases
from stream.ingest.column_paths import Path, first_value
from stream.ingest.json_values import JsonValues
from stream.ingest.protobuf_records import protobuf_reader
from stream.ingest.registry_schemas import RegisteredSchema, SchemaRegistry

HEADER_BYTES = 5


class RegistryValues:
    """Reads the values at `paths`, by role the first of several, with the schemas of `registry`."""

    def __init__(self, paths: Sequence[Sequence[Path]], registry: SchemaRegistry) -> None:
        # No name of Avro's and Protobuf's has a dot in it.
        self._named = [[path for path in several if "." not in str(path[0])] for several in paths]
        self._paths = list(self._named)
        self._registry = registry
        self._json = JsonValues(paths)
        self._aliases: Aliases = {}
        # By schema id; None: the record is JSON.
        self._readers: dict[int, Callable[[bytes, int], Any] | None] = {}

    def read(self, value: bytes) -> list[Any]:
        """The values by role. Raises RejectedEvent, and SchemaAwayError for an unknown schema."""
        if value[0]:
            return self._json.read(value)
        read = self._reader(value)
        if read is None:
            return self._json.read(value[HEADER_BYTES:])
        record = self._record(read, value)
        return [first_value(record, several) if several else None for several in self._paths]

    def read_role(self, value: bytes, role: int) -> Any:
        """The value of one role, whatever the others are."""
        if value[0]:
            return self._json.read_role(value, role)
        read = self._reader(value)
        if read is None:
            return self._json.read_role(value[HEADER_BYTES:], role)
        return first_value(self._record(read, value), self._paths[role])

    def record(self, value: bytes) -> Any:
        """The whole record. Raises RejectedEvent, and SchemaAwayError for an unknown schema."""
        read = self._reader(value) if not value[0] else None
        if read is None:
            return self._json.record(value if value[0] else value[HEADER_BYTES:])
        return self._record(read, value)

    def _record(self, read: Callable[[bytes, int], Any], value: bytes) -> dict[str, Any]:
        record = read(value, HEADER_BYTES)
        if not isinstance(record, dict):
            raise RejectedEvent("schema")
        return record

    def _reader(self, value: bytes) -> Callable[[bytes, int], Any] | None:
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        try:
            return self._readers[schema_id]
        except KeyError:
            pass
        if len(value) <= HEADER_BYTES:
            raise RejectedEvent("schema")
        schema = self._registry.schema(schema_id)
        if self._registry.latest is not None:
            # Its aliases are the names that records of older schemas have.
            self._learn_aliases(self._registry.latest)
        read = self._readers[schema_id] = self._reader_of(schema)
        return read

    def _reader_of(self, schema: RegisteredSchema) -> Callable[[bytes, int], Any] | None:
        if schema.kind == "JSON":
            return None
        if schema.kind == "PROTOBUF":
            return protobuf_reader(schema)
        self._learn_aliases(schema)
        return avro_reader(schema)

    def _learn_aliases(self, schema: RegisteredSchema) -> None:
        if schema.kind != "AVRO":
            return
        for text in (schema.text, *(text for _, text in schema.references)):
            for name, others in aliases_in(text).items():
                self._aliases.setdefault(name, set()).update(others)
        if self._aliases:
            self._paths = [with_aliases(several, self._aliases) for several in self._named]
