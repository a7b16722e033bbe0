"""Of a log of unknown layout: what it looks like, the known layout nearest to it, and what differs.

Tested by tests/cases/test_unknown_logs.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replay.mappings.json_records import decoded
from replay.mappings.known_mappings import KNOWN_MAPPINGS
from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.reading.format import UnreadableLine

# The share of names, or of fields, that a layout must have in common with a log to be worth a word.
LEAST_SHARED, LEAST_FIELDS = 0.34, 0.75
MOST_NAMES = 8


@dataclass(frozen=True)
class Layout:
    """A known layout by the names of its columns."""

    name: str
    columns: tuple[str, ...]


def description(lines: Sequence[str], layouts: Iterable[Layout]) -> str:
    """What a log of unknown layout looks like, and what the nearest known one has otherwise, in a sentence.

    >>> description(["visitor;sku;ts", "a;7;1500000000"], [Layout("shop", ("visitor", "item", "ts"))])
    "It is a table of 3 columns between ';'. Nearest is shop: this log lacks item, and has sku."
    """
    lines = [line for line in lines if line.strip()]
    if not lines:
        return "It has no lines."
    if (names := _keys(lines[0])) is not None:
        return f"It is JSON with {_listed(names)}. {nearest_by_names(names, layouts)}"
    delimiter, width = max(
        ((one, len(fields_of(lines[0], one))) for one in DELIMITERS), key=lambda pair: pair[1]
    )
    if width < 2:
        return "Its first line is no table with commas, tabs, semicolons or bars, and no JSON."
    shown = {"\t": "tabs"}.get(delimiter, repr(delimiter))
    table = f"It is a table of {width} columns between {shown}."
    named = nearest_by_names(fields_of(lines[0], delimiter), layouts)
    return f"{table} {named if named.startswith('Nearest') else _nearest_by_fields(lines) or named}"


def nearest_by_names(names: Sequence[str], layouts: Iterable[Layout]) -> str:
    """The known layout that shares most names with a log, and what differs."""
    known = [*layouts, *(Layout(one.name, one.names) for one in KNOWN_MAPPINGS.values() if one.names)]
    plain = {_plain(name): name for name in names}

    def shared(layout: Layout) -> float:
        wanted = {_plain(name) for name in layout.columns}
        return len(wanted & plain.keys()) / len(wanted | plain.keys()) if wanted else 0.0

    best = max(known, key=shared, default=Layout("", ()))
    if shared(best) < LEAST_SHARED:
        return "No known layout has most of its columns."
    wanted = {_plain(name) for name in best.columns}
    lacking = [name for name in best.columns if _plain(name) not in plain]
    other = [name for key, name in plain.items() if key not in wanted]
    written = [name for name in best.columns if _plain(name) in plain and plain[_plain(name)] != name]
    parts = [
        f"lacks {_listed(lacking)}" if lacking else "",
        f"has {_listed(other)}" if other else "",
        f"writes {_listed(written)} otherwise" if written else "",
    ]
    differs = ", and ".join(filter(None, parts)) or "has other rows, or another delimiter"
    return f"Nearest is {best.name}: this log {differs}."


def _nearest_by_fields(lines: Sequence[str]) -> str:
    """The layout without a header whose fields most lines have, and the first field that differs."""
    best, share, why = "", 0.0, ""
    for known in KNOWN_MAPPINGS.values():
        rows = [line.split(known.delimiter) for line in lines] if known.fields else []
        alike = [row for row in rows if len(row) == len(known.fields)]
        if len(alike) < LEAST_FIELDS * max(1, len(rows)) or not alike:
            continue
        fits = [
            sum(bool(pattern.fullmatch(row[place])) for row in alike) / len(alike)
            for place, pattern in enumerate(known.fields)
        ]
        if sum(fits) / len(fits) > max(share, LEAST_FIELDS - 1e-9):
            place = min(range(len(fits)), key=lambda n: fits[n])
            wrong = next((r[place] for r in alike if not known.fields[place].fullmatch(r[place])), "")
            best, share = known.name, sum(fits) / len(fits)
            why = f"column {place + 1} has {wrong!r} there" if wrong else "some lines have other fields"
    return f"Nearest is {best}, without a header: {why}." if best else ""


def _keys(line: str) -> list[str] | None:
    try:
        record = decoded(line.encode())
    except UnreadableLine:
        return None
    record = record[0] if isinstance(record, list) and record else record
    if not isinstance(record, dict):
        return None
    names: list[str] = []
    for key, value in record.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            path = f"{key}[]" if isinstance(value, list) else str(key)
            names += [f"{path}.{name}" for name in inner]
        else:
            names.append(str(key))
    return names


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(name[:40] for name in names[:MOST_NAMES]) + more
