"""What is what in a shop's file of items: fields to columns, values to yes and no, the unit of its times.

Given on the command line (`--columns`) or in a small TOML file, in the words of a log's mapping.

Tested by tests/unit/replay/item_files/test_item_mapping.py.
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
from stream.log_mapping import UNITS, Column

ITEM, AVAILABLE = "item", "available"
TIMES = ("available_from", "available_until")
FIELDS = ("title", "brand", "category", "price", AVAILABLE, *TIMES, "image", "url")
ATTRIBUTE = "attributes."
EXAMPLE = "--columns item=sku,title=name,price=eur"
YES, NO = "yes", "no"


@dataclass(frozen=True)
class ItemMapping:
    """What is what in a file of items.

    columns    the column of "item", of each of FIELDS that the file has, and of `attributes.NAME`: its name,
               its number from 1, or a path in nested records
    values     YES or NO for values of the column "available" that are no common word for one of them
    time_unit  of TIMES, as of a log; "" for epoch milliseconds and ISO
    time_zone  of times that do not name theirs
    files      how the file holds its columns

    >>> ItemMapping({"item": "sku"}, {"preorder": "yes"}).as_dict()
    {'columns': {'item': 'sku'}, 'values': {'preorder': 'yes'}}
    """

    columns: Mapping[str, Column]
    values: Mapping[str, str] = field(default_factory=dict)
    time_unit: str = ""
    time_zone: str = "UTC"
    files: FileShape = field(default_factory=FileShape)

    def __post_init__(self) -> None:
        """Raises NextclickError when it names what there is not."""
        if wrong := [name for name in self.columns if not is_field(name)]:
            raise _wrong(f"items have no {', '.join(wrong)}", f"They have {_fields()}.")
        if wrong := [name for name, column in self.columns.items() if column in ("", 0)]:
            raise _wrong(f"the column of {', '.join(wrong)} is empty", "A name or a number from 1 is needed.")
        if wrong := sorted({value for value in self.values.values() if value not in (YES, NO)}):
            raise _wrong(f"a value of {AVAILABLE} cannot mean {', '.join(wrong)}", f"It is {YES} or {NO}.")
        if self.time_unit not in ("", *UNITS) and "%" not in self.time_unit:
            raise _wrong(f"there is no unit of time {self.time_unit!r}", f"Known: {', '.join(UNITS)}.")
        check_zone(self.time_zone)

    def as_dict(self) -> dict[str, Any]:
        """The mapping as tables of TOML or JSON, without what is left at its default."""
        found: dict[str, Any] = {"columns": dict(self.columns)}
        if self.values:
            found["values"] = dict(self.values)
        if self.time_unit:
            found["time_unit"] = self.time_unit
        if self.time_zone != "UTC":
            found["time_zone"] = self.time_zone
        if files := self.files.as_dict():
            found["files"] = files
        return found

    def as_toml(self) -> str:
        """The mapping as the text of a file that `read_item_mapping` reads."""
        return toml_of(self.as_dict())


def is_field(name: str) -> bool:
    """Whether an item has such a field.

    >>> is_field("price"), is_field("attributes.colour"), is_field("session")
    (True, True, False)
    """
    return name == ITEM or name in FIELDS or (name.startswith(ATTRIBUTE) and name != ATTRIBUTE)


def parse_item_columns(text: str) -> ItemMapping:
    """What a command line says of a file of items, which need not be all. Raises NextclickError.

    >>> parse_item_columns("item=sku,available=state:preorder=yes,gone=no,delimiter=tab").values
    {'preorder': 'yes', 'gone': 'no'}
    """
    columns: dict[str, Column] = {}
    values: dict[str, str] = {}
    shape: dict[str, Any] = {}
    unit, zone, in_values = "", "UTC", False
    for part in filter(str.strip, text.split(",")):
        name, _, said = (piece.strip() for piece in part.partition("="))
        if name in SHAPES and said:
            shape[name], in_values = shape_value(name, said), False
            continue
        if in_values and said and not is_field(name):
            values[name] = said
            continue
        if not said or not is_field(name) or name in columns:
            raise NextclickError(
                f"--columns: {part.strip()!r} does not name a column of the catalogue",
                "Nothing was read and nothing was sent.",
                f"Write field=column once for each of {_fields()}.",
            )
        column, colon, meaning = said.partition(":")
        in_values = name == AVAILABLE
        if in_values and "=" in meaning:
            value, _, kind = (piece.strip() for piece in meaning.partition("="))
            values[value] = kind
        elif name in TIMES and _is_unit(meaning.partition("@")[0]):
            unit, _, named = meaning.partition("@")
            zone = named or zone
        elif colon:
            column = said
        columns[name] = int(column) if re.fullmatch(r"[0-9]{1,4}", column) else column
    return ItemMapping(columns, values, unit, zone, FileShape(**shape))


def read_item_mapping(path: Path) -> ItemMapping:
    """The mapping of a TOML file. Raises NextclickError when the file is none, with its name."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise NextclickError(
            f"{path} cannot be read as a mapping: {error}",
            "A mapping of items is a TOML file that says which column is which field.",
            "Have one written: nextclick items guess FILE",
        ) from None
    try:
        return _mapping_of(table)
    except NextclickError as error:
        raise NextclickError(f"{path}: {error.what}", error.meaning, error.remedy) from None


def _mapping_of(table: Mapping[str, Any]) -> ItemMapping:
    known: dict[str, type] = dict.fromkeys(("columns", "values", "files"), dict)
    known |= dict.fromkeys(("time_unit", "time_zone"), str)
    if wrong := [name for name, value in table.items() if not isinstance(value, known.get(name, ()))]:
        hint = f"It has {', '.join(known)}."
        raise _wrong(f"a mapping of items has no {', '.join(wrong)} of this type", hint)
    columns = table.get("columns", {})
    if wrong := [name for name, value in columns.items() if type(value) not in (str, int)]:
        raise _wrong(f"the column of {', '.join(wrong)} is neither a name nor a number", "Write it so.")
    if ITEM not in columns:
        raise _wrong(f"[columns] does not say which one is the {ITEM}", "Its ids are those of the events.")
    values = {str(value): str(kind) for value, kind in table.get("values", {}).items()}
    files = file_shape(table.get("files", {}))
    unit, zone = table.get("time_unit", ""), table.get("time_zone", "UTC")
    return ItemMapping(columns, values, unit, zone, files)


def _is_unit(text: str) -> bool:
    return text in UNITS or "%" in text


def _fields() -> str:
    return f"{ITEM}, {', '.join(FIELDS)}, {ATTRIBUTE}NAME"


def _wrong(problem: str, hint: str) -> NextclickError:
    return no_mapping(problem, hint, EXAMPLE)
