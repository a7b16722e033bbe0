"""Reads the values of a mapping's columns from JSON, and no others.

The mapping is compiled once into types of msgspec that have the mapped fields alone, so that a record's
other fields are skipped unread. A record whose values are of other types is read again as it is.

Tested by tests/unit/stream/ingest/test_mapped_events.py.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec

from stream.events import RejectedEvent
from stream.ingest.column_paths import Path, Step, first_value

# What msgspec takes in no name of a field.
UNTYPED = re.compile(r'["\\\x00-\x1f]')
Scalar = str | int | float | bool | None


@dataclass
class _Node:
    """A place in records that some path passes or ends at."""

    names: dict[str, _Node] = field(default_factory=dict)
    element: _Node | None = None
    ends: bool = False
    decoder: Any = None

    def follow(self, step: Step) -> _Node:
        if isinstance(step, str):
            return self.names.setdefault(step, _Node())
        self.element = self.element or _Node()
        return self.element

    def compile(self, *, is_root: bool = False) -> Any:
        """The type of the values here; also makes the decoder of values that are JSON in a text."""
        if self.ends and not self.names and self.element is None:
            return Scalar
        found: Any = None
        if self.names:
            fields = [(f"f{number}", node.compile(), None) for number, node in enumerate(self.names.values())]
            rename = {f"f{number}": name for number, name in enumerate(self.names)}
            found = msgspec.defstruct("Mapped", fields, rename=rename, gc=False)
        if self.element is not None:
            elements = types.GenericAlias(list, (self.element.compile(),))
            found = elements if found is None else found | elements
        if is_root:
            return found
        self.decoder = msgspec.json.Decoder(found | None)
        # A value that some path ends at and another one passes is read as it is.
        return Any if self.ends else found | str | None


class JsonValues:
    """Reads the values at `paths`, by role the first of several; None for a role without any.

    >>> JsonValues([[("user", "id")], [("skus", 0)]]).read(b'{"user": {"id": 7}, "skus": ["a", "b"]}')
    [7, 'a']
    """

    def __init__(self, paths: Sequence[Sequence[Path]]) -> None:
        self._paths = paths
        root = _Node()
        for path in (path for several in paths for path in several):
            node = root
            for step in path:
                node = node.follow(step)
            node.ends = True
        self._takes_lists = root.element is not None
        self._decode_all = msgspec.json.Decoder().decode
        names = {step for several in paths for path in several for step in path if isinstance(step, str)}
        self._is_typed = not any(UNTYPED.search(name) for name in names)
        if not self._is_typed:
            return
        self._decode = msgspec.json.Decoder(root.compile(is_root=True)).decode
        self._roles = [(role, _getter(root, several)) for role, several in enumerate(paths) if several]

    def read(self, value: bytes) -> list[Any]:
        """The values by role. Raises RejectedEvent for what is no JSON."""
        if not self._is_typed:
            return self.read_all(value)
        try:
            record = self._decode(value)
            found = [None] * len(self._paths)
            for role, get in self._roles:
                found[role] = get(record)
            return found
        except msgspec.ValidationError:
            pass
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise RejectedEvent("not_json") from None
        return self.read_all(value)

    def read_all(self, value: bytes) -> list[Any]:
        """The values by role of a record whose values are of other types than scalars where paths end."""
        record = self.record(value)
        return [first_value(record, several) for several in self._paths]

    def read_role(self, value: bytes, role: int) -> Any:
        """The value of one role, whatever the others are. Raises RejectedEvent for what is no JSON."""
        return first_value(self.record(value), self._paths[role])

    def record(self, value: bytes) -> Any:
        """The whole record. Raises RejectedEvent for what is no JSON, or has no names."""
        try:
            record = self._decode_all(value)
            if isinstance(record, str):
                # Written as JSON twice.
                record = self._decode_all(record)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise RejectedEvent("not_json") from None
        if not isinstance(record, dict) and not (self._takes_lists and isinstance(record, list)):
            raise RejectedEvent("schema")
        return record


_Compiled = list[tuple[str, int, Any]]


def _compiled(node: _Node, path: Path) -> _Compiled:
    """By step: the attribute of the record here, or its place in the list, and the decoder of a text here."""
    found: _Compiled = []
    for step in path:
        attribute = f"f{list(node.names).index(step)}" if isinstance(step, str) else ""
        found.append((attribute, 0 if isinstance(step, str) else step, node.decoder))
        node = node.follow(step)
    return found


def _getter(root: _Node, several: Sequence[Path]) -> Callable[[Any], Any]:
    compiled = [_compiled(root, path) for path in several]
    if len(compiled) == 1 and len(compiled[0]) == 1 and compiled[0][0][0]:
        return attrgetter(compiled[0][0][0])
    return partial(_first, several=compiled)


def _first(record: Any, several: Sequence[_Compiled]) -> Any:
    for steps in several:
        value = record
        for attribute, place, decoder in steps:
            if type(value) is str:
                # JSON in a text, as some producers wrap their payloads; an empty one has nothing.
                value = decoder.decode(value) if value else None
            if value is None:
                break
            if type(value) in (dict, int, float, bool):
                # Of another shape than the mapping's: read as it is.
                raise msgspec.ValidationError
            if attribute:
                value = None if type(value) is list else getattr(value, attribute)
            else:
                value = value[place] if type(value) is list and place < len(value) else None
        if value is not None:
            return value
    return None
