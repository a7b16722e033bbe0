"""Records in Protobuf, by the .proto text that a registry has; compiled in memory by protoc.

Tested by tests/integration/test_schema_registry.py and tests/unit/stream/ingest/test_registry_values.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from stream.events import RejectedEvent
from stream.ingest.registry_schemas import RegisteredSchema, import_registry

ROOT = "nextclick_root.proto"
WRAPPED = "google.protobuf."


def protobuf_reader(schema: RegisteredSchema) -> Callable[[bytes, int], Any]:
    """A function that reads the message of a value from an offset on, as dicts, lists and scalars.

    Raises NextclickError for a schema that protoc does not take.
    """
    file = _compiled(schema)
    message_factory = import_registry("google.protobuf.message_factory")
    errors = import_registry("google.protobuf.message").DecodeError

    def read_record(value: bytes, start: int) -> Any:
        place, start = _message_indexes(value, start)
        try:
            descriptor = list(file.message_types_by_name.values())[place[0]]
            for index in place[1:]:
                descriptor = descriptor.nested_types[index]
            message = message_factory.GetMessageClass(descriptor)()
            message.ParseFromString(value[start:])
        except (errors, IndexError):
            raise RejectedEvent("schema") from None
        return _plain(message)

    return read_record


def _compiled(schema: RegisteredSchema) -> Any:
    """The descriptor of the schema's file, with all that it imports, in a pool of its own."""
    protoc = import_registry("grpc_tools.protoc")
    include = Path(import_registry("grpc_tools").__file__).parent / "_proto"
    descriptors = import_registry("google.protobuf.descriptor_pb2")
    with tempfile.TemporaryDirectory(prefix="nextclick-proto-") as name:
        folder = Path(name)
        for path, text in [*schema.references, (ROOT, schema.text)]:
            file = folder / path
            if not file.resolve().is_relative_to(folder.resolve()):
                raise _not_compiled(schema, f"it imports {path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        out = folder / "schema.set"
        arguments = [
            "",
            f"-I{folder}",
            f"-I{include}",
            "--include_imports",
            f"--descriptor_set_out={out}",
            ROOT,
        ]
        if protoc.main(arguments) != 0:
            raise _not_compiled(schema, "protoc refuses it, and has said why above")
        files = descriptors.FileDescriptorSet.FromString(out.read_bytes())
    pool = import_registry("google.protobuf.descriptor_pool").DescriptorPool()
    for one in files.file:
        pool.Add(one)
    return pool.FindFileByName(ROOT)


def _not_compiled(schema: RegisteredSchema, why: str) -> NextclickError:
    return NextclickError(
        f"schema {schema.schema_id} of the registry is no Protobuf schema that can be read: {why}",
        "Its records cannot be read, so reading ends before the first of them.",
        "Look at the schema in the registry; report it if other programs read it.",
    )


def _message_indexes(value: bytes, start: int) -> tuple[list[int], int]:
    """Which message of the file a value is, by places from the outermost one, and where it begins."""
    count, start = _zigzag(value, start)
    if not 0 <= count <= 16:
        raise RejectedEvent("schema")
    found = []
    for _ in range(count):
        index, start = _zigzag(value, start)
        if index < 0:
            raise RejectedEvent("schema")
        found.append(index)
    return found or [0], start


def _zigzag(value: bytes, start: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if start >= len(value) or shift > 35:
            raise RejectedEvent("schema")
        byte = value[start]
        start += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), start
        shift += 7


def _plain(message: Any) -> Any:
    """A message as a dict by its fields' names in the .proto and in JSON; None where one is not set."""
    descriptor = message.DESCRIPTOR
    if descriptor.full_name.startswith(WRAPPED):
        if descriptor.name == "Timestamp":
            try:
                return message.ToDatetime(UTC)
            except (ValueError, OverflowError):
                # Beyond the years that there are, as milliseconds in the place of seconds are.
                return None
        if descriptor.name.endswith("Value") and "value" in descriptor.fields_by_name:
            return message.value
    found: dict[str, Any] = {}
    for field in descriptor.fields:
        value: Any = None
        if field.is_repeated:
            entry = field.message_type
            if entry is None or not entry.GetOptions().map_entry:
                value = [_scalar(one, field) for one in getattr(message, field.name)]
        elif not field.has_presence or message.HasField(field.name):
            value = _scalar(getattr(message, field.name), field)
        found[field.name] = found[field.json_name] = value
    return found


def _scalar(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return _plain(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value
