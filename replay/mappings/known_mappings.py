"""Published layouts that a mapping describes: a TOML file each, in this folder.

A file is that of a mapping (deploy/docs/own_log.md) with a table [known], by which a log is known:
`names` of columns, or paths of JSON, that it must have; or, of a log without a header, `fields`, a pattern
for each field of its lines. `without_item` says that rows without an item are no events.

Tested by tests/unit/replay/mappings/test_known_mappings.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.mappings.json_records import RecordRows, decoded
from replay.mappings.mapped_files import format_of
from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.reading.containers.columnar import column_types, is_columnar
from replay.reading.format import Format, UnreadableLine
from replay.reading.packed_files import first_lines
from stream.log_mapping import LogMapping, mapping_of

# Lines by which a log without a header is known, how many of them there must be, and how many may be broken.
LINES, LEAST_LINES, BROKEN_LINES = 200, 2, 0.02
# Lines of JSON by which a log is known.
JSON_LINES = 20


@dataclass(frozen=True)
class KnownMapping:
    """A published layout: its mapping, and the names or patterns by which a log is known."""

    name: str
    about: str
    mapping: LogMapping
    names: tuple[str, ...]
    fields: tuple[re.Pattern[str], ...]
    without_item: bool

    def format_of(self, path: Path) -> Format:
        """The format of a file of this layout. Raises NextclickError for a file that is not of it."""
        return format_of(path, self.mapping, self.name, without_item=self.without_item)

    @property
    def delimiter(self) -> str:
        """The delimiter of a layout without a header."""
        return self.mapping.files.delimiter

    @property
    def shape(self) -> str:
        """How the columns of a log look, for messages."""
        if self.names:
            return ", ".join(self.names)
        roles = {column: role for role, column in self.mapping.columns.items()}
        places = range(1, len(self.fields) + 1)
        return ", ".join(roles.get(place, "…") for place in places) + ", without a header"


def known_mapping_of(name: str, table: Mapping[str, Any], about: str = "") -> KnownMapping:
    """The known mapping of tables as a file has them."""
    known = table["known"]
    mapping = mapping_of({key: value for key, value in table.items() if key != "known"})
    return KnownMapping(
        name,
        about,
        mapping,
        tuple(known.get("names", ())),
        tuple(re.compile(pattern, re.ASCII) for pattern in known.get("fields", ())),
        known.get("without_item", False),
    )


def _read(path: Path) -> KnownMapping:
    text = path.read_text("utf-8")
    comments = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]
    return known_mapping_of(path.stem, tomllib.loads(text), " ".join(comments))


KNOWN_MAPPINGS = {path.stem: _read(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}
# The layouts of most names first: what has all of them is of no layout with fewer.
_BY_NAMES = sorted(
    (one for one in KNOWN_MAPPINGS.values() if one.names),
    key=lambda one: (-len(one.names), "user" in one.mapping.columns and "session" not in one.mapping.columns),
)


def mapping_by_names(names: Iterable[str]) -> KnownMapping | None:
    """The known layout that has only columns of these names; of several that of the most names.

    >>> found = mapping_by_names(["session", "aid", "ts", "type"])
    >>> found.name if found else None
    'otto-table'
    """
    present = set(names)
    return next((one for one in _BY_NAMES if present.issuperset(one.names)), None)


def known_by_mapping(path: Path) -> KnownMapping | None:
    """The known layout of a file; None where it is of none. Raises NextclickError when it is damaged."""
    if is_columnar(path):
        return mapping_by_names(list(column_types(path)))
    lines = [line for line in first_lines(path, LINES) if line.strip()]
    if not lines:
        return None
    if lines[0].lstrip().startswith(("{", "[")):
        return _by_records(lines)
    for delimiter in DELIMITERS:
        if found := mapping_by_names(fields_of(lines[0], delimiter)):
            return found
    return _by_fields(lines)


def _by_records(lines: list[str]) -> KnownMapping | None:
    records: list[object] = []
    for line in lines[:JSON_LINES]:
        try:
            value = decoded(line.encode())
        except UnreadableLine:
            continue
        records.extend(value[:JSON_LINES] if isinstance(value, list) else [value])
    return next((one for one in _BY_NAMES if any(_has(record, one.names) for record in records)), None)


def _has(record: object, names: tuple[str, ...]) -> bool:
    """Whether a record has a value of each name."""
    try:
        return any(all(row) for row in RecordRows({name: name for name in names})(record))
    except UnreadableLine:
        return False


def _by_fields(lines: list[str]) -> KnownMapping | None:
    for one in KNOWN_MAPPINGS.values():
        if not one.fields or len(lines) < LEAST_LINES:
            continue
        wrong = sum(not fits(one, line) for line in lines)
        if wrong <= BROKEN_LINES * len(lines):
            return one
    return None


def fits(known: KnownMapping, line: str) -> bool:
    """Whether a line is of a layout without a header."""
    fields = line.split(known.delimiter)
    return len(fields) == len(known.fields) and all(
        pattern.fullmatch(field) for pattern, field in zip(known.fields, fields, strict=True)
    )
