"""The file of `nextclick items load`: a table of items, one row each, packed or not.

Knows columns and how people write yes, no, times and categories; what a word may say is checked by
stream.catalogue.item_word.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from model.errors import NextclickError
from replay.reading.packed_files import CUT_OFF, open_file
from stream.catalogue.item_word import ItemWord, RejectedWord, decode_word, encode_word

ITEM = "item"
FIELDS = (
    "title", "brand", "category", "price", "available", "available_from", "available_until", "image", "url",
)  # fmt: skip
ATTRIBUTE = "attributes."
# Names that a column may have where --columns says nothing.
USUAL = {
    ITEM: ("item_id", "item", "id", "sku"),
    "available_from": ("available_from", "available_from_ms"),
    "available_until": ("available_until", "available_until_ms"),
}
YES, NO = {"true", "yes", "y", "1", "in stock", "in_stock"}, {"false", "no", "n", "0", "out of stock"}
DELIMITERS = ",;\t|"


@dataclass
class RowsRead:
    """Rows that became words, and those left out: each reason with the first line that has it."""

    words: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def leave_out(self, line: int, rejected: RejectedWord) -> None:
        """Count a row that is no word."""
        self.left_out[rejected.reason] = self.left_out.get(rejected.reason, 0) + 1
        self.first.setdefault(rejected.reason, f"line {line}: {rejected}")


def parse_columns(text: str | None) -> dict[str, str]:
    """Column names by field, from item=sku,title=name,attributes.colour=farbe. Raises NextclickError.

    >>> parse_columns("item=sku,attributes.colour=farbe")
    {'item': 'sku', 'attributes.colour': 'farbe'}
    """
    named: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, _, column = (piece.strip() for piece in part.partition("="))
        known = name == ITEM or name in FIELDS or (name.startswith(ATTRIBUTE) and name != ATTRIBUTE)
        if not column or not known or name in named:
            raise NextclickError(
                f"--columns: {part.strip()!r} does not name a column of the catalogue",
                "Nothing was read and nothing was sent.",
                f"Write field=column once for each of item, {', '.join(FIELDS)}, attributes.NAME.",
            )
        named[name] = column
    return named


def read_catalogue(path: Path, columns: Mapping[str, str], rows: RowsRead) -> Iterator[tuple[str, ItemWord]]:
    """The words that a file has about items, in its order; adds to `rows` what is read and left out.

    Raises NextclickError when the file cannot be read or lacks a column.
    """
    with open_file(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            yield from _words(text, path, columns, rows)
        except (csv.Error, UnicodeDecodeError, *CUT_OFF) as error:
            raise _unreadable(path, f"it cannot be read to its end: {error}") from error


def _words(
    text: IO[str], path: Path, columns: Mapping[str, str], rows: RowsRead
) -> Iterator[tuple[str, ItemWord]]:
    header = text.readline()
    delimiter = max(DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    places = _places(path, names, columns)
    reader = csv.reader(text, delimiter=delimiter)
    for row in reader:
        if not row:
            continue
        try:
            if len(row) != len(names):
                raise RejectedWord("columns", f"{len(row)} values, {len(names)} columns")
            values = {name: row[place].strip() for name, place in places.items() if row[place].strip()}
            item_id = values.pop(ITEM, "")
            # As workers will read it.
            known, word = decode_word(item_id.encode(), encode_word(_word(values)))
        except RejectedWord as rejected:
            rows.leave_out(reader.line_num + 1, rejected)
            continue
        assert word is not None
        rows.words += 1
        yield known, word


def _places(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, int]:
    """The place of each field's column. Raises NextclickError where a named one is missing."""
    places: dict[str, int] = {}
    for name in (ITEM, *FIELDS):
        usual = USUAL.get(name, (name,))
        wanted = (columns[name],) if name in columns else usual
        found = next((column for column in wanted if column in names), None)
        if found is not None:
            places[name] = names.index(found)
        elif name in columns:
            raise _unreadable(path, f"it has no column {columns[name]}")
    for name, column in columns.items():
        if name.startswith(ATTRIBUTE):
            if column not in names:
                raise _unreadable(path, f"it has no column {column}")
            places[name] = names.index(column)
    for place, column in enumerate(names):
        if column.startswith(ATTRIBUTE) and column not in columns:
            places[column] = place
    if ITEM not in places:
        raise _unreadable(path, f"none of its columns is {', '.join(USUAL[ITEM])}: {', '.join(names)}")
    return places


def _word(values: dict[str, str]) -> ItemWord:
    attributes = {
        name.removeprefix(ATTRIBUTE): text for name, text in values.items() if name.startswith(ATTRIBUTE)
    }
    path = values.get("category")
    return ItemWord(
        values.get("title"),
        values.get("brand"),
        [name.strip() for name in path.split(">")] if path and ">" in path else path,
        price_of(values["price"]) if "price" in values else None,
        is_yes(values["available"]) if "available" in values else True,
        moment_of(values["available_from"]) if "available_from" in values else None,
        moment_of(values["available_until"]) if "available_until" in values else None,
        dict(attributes) or None,
        values.get("image"),
        values.get("url"),
    )


def price_of(text: str) -> float:
    """A price. Raises RejectedWord.

    >>> price_of("12.50")
    12.5
    """
    try:
        price = float(text)
    except ValueError:
        raise RejectedWord("price", f"{text!r} is no number") from None
    if not 0 <= price < float("inf"):
        raise RejectedWord("price", f"a price of {text}")
    return price


def is_yes(text: str) -> bool:
    """Whether a text says yes. Raises RejectedWord where it says neither yes nor no.

    >>> is_yes("In stock"), is_yes("0")
    (True, False)
    """
    if text.casefold() in YES:
        return True
    if text.casefold() in NO:
        return False
    raise RejectedWord("available", f"{text!r} is neither yes nor no")


def moment_of(text: str) -> int:
    """Epoch milliseconds, from such a number or an ISO time (UTC without a zone). Raises RejectedWord.

    >>> moment_of("2026-12-24T00:00Z"), moment_of("1700000000000")
    (1798070400000, 1700000000000)
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RejectedWord("times", f"{text!r} is neither epoch milliseconds nor an ISO time") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _unreadable(path: Path, why: str) -> NextclickError:
    return NextclickError(
        f"{path}: {why}",
        "It does not read as a catalogue of items.",
        "Name a table whose first line names its columns, or say which column is what: "
        "--columns item=sku,title=name.",
    )
