"""Mappings that have a name: payloads that many shops have, as TOML files in `named` beside this file.

`events_mapping` is such a name, or a file; a file with `like = "cloudevents"` says only what is otherwise.

Tested by tests/unit/stream/ingest/test_named_mappings.py.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from stream.log_mapping import LogMapping, mapping_of, read_mapping

FOLDER = Path(__file__).with_name("named")
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
LIKE = "like"


def mapping_by(name: str) -> LogMapping:
    """The mapping of a name, or of a file. Raises NextclickError.

    >>> mapping_by("segment").kinds["Product Added"]
    'cart'
    """
    if name in NAMES:
        return read_mapping(FOLDER / f"{name}.toml")
    path = Path(name)
    table = _table(path)
    if LIKE not in table:
        return read_mapping(path)
    if table[LIKE] not in NAMES:
        raise NextclickError(
            f"{path}: there is no mapping of the name {table[LIKE]!r}",
            f"Named mappings are {', '.join(NAMES)}. Nothing was read.",
            f"Correct `{LIKE}`, or leave it out and say every column.",
        )
    merged = _table(FOLDER / f"{table.pop(LIKE)}.toml")
    for key, value in table.items():
        is_table = isinstance(value, dict) and isinstance(merged.get(key, {}), dict)
        merged[key] = {**merged.get(key, {}), **value} if is_table else value
    try:
        return mapping_of(merged)
    except NextclickError as error:
        raise NextclickError(f"{path}: {error.what}", error.meaning, error.remedy) from None


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise NextclickError(
            f"{path} cannot be read as a mapping: {error}",
            f"A mapping is a TOML file that says which column has which role, or a name: {', '.join(NAMES)}.",
            "Compare it with the examples in deploy/docs/own_topic.md.",
        ) from None
