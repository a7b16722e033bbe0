"""What is what in a log of one's own: roles to columns, values to kinds, the unit of its times, its sessions.

One mapping serves files and topics: it is given on the command line (`--columns`), in the settings, or in a
small TOML file that travels with the log and the model. This file knows words, not files or records: files
are read by replay/datasets, records of a topic by stream/ingest.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from stream.file_shape import SHAPES, FileShape, check_zone, file_shape, no_mapping, shape_value, toml_of
from stream.time_units import PATTERNS, PER_SECOND

Column = str | int
REQUIRED = ("session", "item", "time")
OPTIONAL = ("kind", "user", "price", "brand", "category", "title")
ROLES = (*REQUIRED, *OPTIONAL)
KINDS = ("view", "cart", "purchase", "session_end", "dismiss", "forget")
# The field of a manifest's data that holds the mapping of the log that a version learned from.
RECORDED_AS = "mapping"
# What a value of the log may be mapped to: a kind, or nothing.
LEFT_OUT = "left out"
UNITS = (*PER_SECOND, "iso", *PATTERNS)
SESSION_RULES = ("column", "gap", "day", "user")
# Of a topic: the record's key, its timestamp in milliseconds, a header.
RECORD_COLUMNS = ("@key", "@timestamp", "@header.")


@dataclass(frozen=True)
class LogMapping:
    """What is what in a log.

    columns       the column of each role: its name, its number from 1, or a path in nested records,
                  `user.id` or `events[].aid` (one event for each element); for a topic also one of
                  RECORD_COLUMNS. "session" may be absent where `sessions` is not "column"
    kinds         the kind of each value of the kind column, or LEFT_OUT; without an entry the common
                  names are known. A value that neither knows is left out and counted
    default_kind  the kind of events without a value of their own
    time_unit     one of UNITS or a strptime pattern; "" where it is to be seen in the log. A pattern
                  without a year names it: `%m%d in 2014`
    time_zone     of times that do not name theirs, a name of the IANA database
    sessions      where a session ends: "column" says it; "gap" after `gap_minutes` of a user's silence;
                  "day" each day of a user; "user" never
    files         how the files hold their columns

    >>> LogMapping({"session": "visitor", "item": 2, "time": "ts"}, {"pv": "view"}).column("item")
    2
    """

    columns: Mapping[str, Column]
    kinds: Mapping[str, str] = field(default_factory=dict)
    default_kind: str = "view"
    time_unit: str = ""
    time_zone: str = "UTC"
    sessions: str = "column"
    gap_minutes: float = 30.0
    files: FileShape = field(default_factory=FileShape)

    def __post_init__(self) -> None:
        """Raises NextclickError when the mapping does not say what is needed, or contradicts itself."""
        if wrong := [role for role in self.columns if role not in ROLES]:
            raise no_mapping(f"there is no role {', '.join(wrong)}", f"The roles are {', '.join(ROLES)}.")
        needed = REQUIRED if self.sessions == "column" else ("user", "item", "time")
        if absent := [role for role in needed if role not in self.columns]:
            raise no_mapping(
                f"the mapping does not say which column is the {', '.join(absent)}",
                f"{', '.join(needed)} are needed; {', '.join(OPTIONAL)} may be named.",
            )
        if wrong := [role for role, name in self.columns.items() if name in ("", 0)]:
            raise no_mapping(
                f"the column of {', '.join(wrong)} is empty", "A name or a number from 1 is needed."
            )
        if wrong := sorted({kind for kind in self.kinds.values() if kind not in (*KINDS, LEFT_OUT)}):
            raise no_mapping(
                f"there is no kind {', '.join(wrong)}", f"Kinds: {', '.join((*KINDS, LEFT_OUT))}."
            )
        for name, value, known in (
            ("kind", self.default_kind, KINDS),
            ("session rule", self.sessions, SESSION_RULES),
        ):
            if value not in known:
                raise no_mapping(f"there is no {name} {value!r}", f"Known: {', '.join(filter(None, known))}.")
        if self.time_unit not in ("", *UNITS) and "%" not in self.time_unit:
            raise no_mapping(
                f"there is no unit of time {self.time_unit!r}",
                f"Known: {', '.join(UNITS)}, or a pattern such as %d.%m.%Y %H:%M.",
            )
        if not self.gap_minutes > 0:
            raise no_mapping("the gap between sessions is not above 0", "It is in minutes.")
        check_zone(self.time_zone)

    @property
    def session_gap_s(self) -> float | None:
        """The silence that ends a session of this log, 0: none does; None: the sessions are the log's own."""
        return {"column": None, "gap": self.gap_minutes * 60}.get(self.sessions, 0.0)

    def column(self, role: str) -> Column | None:
        """The column of a role; None where the log has none."""
        return self.columns.get(role)

    def as_dict(self) -> dict[str, Any]:
        """The mapping as tables of TOML or JSON, without what is left at its default."""
        found: dict[str, Any] = {"columns": dict(self.columns)}
        if self.kinds:
            found["kinds"] = dict(self.kinds)
        for name, value, default in (
            ("default_kind", self.default_kind, "view"),
            ("time_unit", self.time_unit, ""),
            ("time_zone", self.time_zone, "UTC"),
            ("sessions", self.sessions, "column"),
            ("gap_minutes", self.gap_minutes, 30.0),
        ):
            if value != default:
                found[name] = value
        if files := self.files.as_dict():
            found["files"] = files
        return found

    def as_toml(self) -> str:
        """The mapping as the text of a file that `read_mapping` reads."""
        return toml_of(self.as_dict())


def mapping_of(table: Mapping[str, Any]) -> LogMapping:
    """The mapping of tables as `as_dict` gives. Raises NextclickError for one that is none.

    >>> mapping_of({"columns": {"session": "s", "item": "i", "time": "t"}, "time_unit": "ms"}).time_unit
    'ms'
    """
    known: dict[str, type | tuple[type, ...]] = dict.fromkeys(("columns", "kinds", "files"), dict)
    known |= dict.fromkeys(("default_kind", "time_unit", "time_zone", "sessions"), str)
    known["gap_minutes"] = (int, float)
    if unknown := [name for name in table if name not in known]:
        raise no_mapping(f"a mapping has no {', '.join(unknown)}", f"It has {', '.join(known)}.")
    if wrong := [name for name, value in table.items() if not isinstance(value, known[name])]:
        raise no_mapping(
            f"{', '.join(wrong)} of the mapping is of another type", "See the example of the docs."
        )
    if "columns" not in table:
        raise no_mapping("the mapping has no [columns]", "They say which column has which role.")
    columns = table["columns"]
    if wrong := [role for role, value in columns.items() if type(value) not in (str, int)]:
        raise no_mapping(f"the column of {', '.join(wrong)} is neither a name nor a number", "Write it so.")
    kinds = {str(value): str(kind) for value, kind in table.get("kinds", {}).items()}
    plain = {name: table[name] for name in table if name not in ("columns", "kinds", "files")}
    return LogMapping(columns, kinds, files=file_shape(table.get("files", {})), **plain)


def read_mapping(path: Path) -> LogMapping:
    """The mapping of a TOML file. Raises NextclickError when the file is none, with its name."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise NextclickError(
            f"{path} cannot be read as a mapping: {error}",
            "A mapping is a TOML file that says which column has which role.",
            "Have one written: nextclick data guess FILE",
        ) from None
    try:
        return mapping_of(table)
    except NextclickError as error:
        raise NextclickError(f"{path}: {error.what}", error.meaning, error.remedy) from None


def parse_mapping(text: str) -> LogMapping:
    """The mapping of a command line: role=column, separated by commas, each with what its values mean.

    `kind=type:pv=view,3=purchase` maps values to kinds, `time=ts:ms` names a unit or a pattern,
    `time=ts:ms@Europe/Berlin` also a zone. A column of digits is a number from 1; a name of digits is
    written in a file. `sessions=gap:20`, day or user stands for a column of sessions, and
    `delimiter=tab`, `header=no`, `encoding=latin-1`, `decimal=comma`, `quotes=no` say how files hold them.

    >>> parse_mapping("session=1,item=events[].aid,time=ts:ms,kind=type:pv=view,3=purchase").kinds
    {'pv': 'view', '3': 'purchase'}
    >>> parse_mapping("user=1,item=2,time=3,sessions=gap:20").gap_minutes
    20.0
    """
    columns: dict[str, Column] = {}
    kinds: dict[str, str] = {}
    said: dict[str, Any] = {}
    shape: dict[str, Any] = {}
    unit, zone, in_kinds = "", "UTC", False
    for part in text.split(","):
        role, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value or (role in columns):
            raise _unclear(text)
        if role == "sessions":
            said["sessions"], _, minutes = value.partition(":")
            if minutes and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", minutes):
                raise no_mapping(f"{minutes!r} is no number of minutes", "The gap between sessions is one.")
            said["gap_minutes"] = float(minutes or 30)
            continue
        if role in SHAPES:
            shape[role] = shape_value(role, value)
            continue
        if in_kinds and role not in ROLES:
            kinds[role] = value
            continue
        column, colon, meaning = value.partition(":")
        in_kinds = role == "kind"
        if role == "kind" and "=" in meaning:
            name, _, kind = (word.strip() for word in meaning.partition("="))
            kinds[name] = kind
        elif role == "time" and _is_unit(meaning.partition("@")[0]):
            unit, _, named = meaning.partition("@")
            zone = named or "UTC"
        elif colon:
            column = value
        columns[role] = int(column) if re.fullmatch(r"[0-9]{1,4}", column) else column
    return LogMapping(columns, kinds, time_unit=unit, time_zone=zone, files=FileShape(**shape), **said)


def _is_unit(text: str) -> bool:
    return text in UNITS or "%" in text


def _unclear(text: str) -> NextclickError:
    return no_mapping(f"{text!r} does not say which column is what", f"{', '.join(REQUIRED)} are needed.")
