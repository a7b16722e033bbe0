"""Where in a record a column of a mapping lies: names, places in lists, alternatives.

`product.sku` is a name in a record in a record, or one name with a dot in it; `items[0].sku` the first of
a list; `events[].aid` every element, one event each; `sku|item_id` the first of several that a record has.
A text on the way is JSON that was written into JSON, and is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from model.errors import NextclickError
from stream.events import RejectedEvent
from stream.log_mapping import Column

# A step over every element of a list.
EVERY = -1
Step = str | int
Path = tuple[Step, ...]
STEP = re.compile(r"([^\[\]]*)((?:\[[0-9]{0,4}\])*)")


def paths_of(column: Column, role: str) -> list[Path]:
    """The paths of a column, the first that a record has being meant. Raises NextclickError for none.

    >>> paths_of("events[].aid|sku", "item")
    [('events', -1, 'aid'), ('sku',)]
    >>> paths_of("user.id", "user")
    [('user.id',), ('user', 'id')]
    """
    if isinstance(column, int):
        raise _no_path(column, role, "the values of a topic's records have names, not numbers")
    found: list[Path] = []
    for written in column.split("|"):
        steps: list[Step] = []
        for part in written.split("."):
            match = STEP.fullmatch(part)
            if match is None or not part:
                raise _no_path(column, role, f"{part!r} is neither a name nor a place in a list, as items[0]")
            if match[1]:
                steps.append(match[1])
            steps += [int(place) if place else EVERY for place in re.findall(r"\[([0-9]*)\]", match[2])]
        if "." in written and "[" not in written:
            found.append((written,))
        found.append(tuple(steps))
    return found


def value_at(record: Any, path: Path) -> Any:
    """The value at a path without EVERY; None where the record does not reach so far.

    Raises RejectedEvent for a text on the way that is no JSON.

    >>> value_at({"payload": '{"items": [{"sku": 5}]}'}, ("payload", "items", 0, "sku"))
    5
    """
    for step in path:
        if type(record) is dict:
            # Most of them: a name has a value.
            record = record.get(step)
            if record is None:
                return None
            continue
        if isinstance(record, str | bytes):
            record = _inner(record)
        if isinstance(step, str):
            record = record.get(step) if isinstance(record, dict) else None
        else:
            record = record[step] if isinstance(record, list) and step < len(record) else None
        if record is None:
            return None
    return record


def first_value(record: Any, paths: Sequence[Path]) -> Any:
    """The value at the first of the paths that the record has; None where it has none."""
    for path in paths:
        value = value_at(record, path)
        if value is not None:
            return value
    return None


def _inner(text: str | bytes) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RejectedEvent("not_json") from None


def _no_path(column: Column, role: str, why: str) -> NextclickError:
    return NextclickError(
        f"the column of {role}, {column!r}, cannot be read from a topic: {why}",
        "Nothing was read.",
        'Write a name or a path in the mapping, such as "product.sku" or "items[0].sku".',
    )
