"""The rows of a file of items as words about items; what is no word is counted, with its first line.

Read as event logs are: any container, packing and delimiter, in bounded memory. What a word may say is
checked by stream.catalogue.item_word.

Tested by tests/unit/replay/item_files/test_item_rows.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from replay.item_files.item_mapping import ATTRIBUTE, ITEM, TIMES, ItemMapping
from replay.item_files.item_names import WORDS, name_rank
from replay.item_files.item_values import is_yes, moment_of, price_of
from replay.mappings.event_times import said_times
from replay.mappings.named_columns import NamedColumns, columns_of, fields_of
from replay.reading.containers.file_chunks import file_chunks
from replay.reading.delimited import FIELDS as WRONG_FIELDS
from replay.reading.delimited import BrokenRows
from replay.reading.values import ids_of
from stream.catalogue.item_word import ItemWord, RejectedWord, decode_word, encode_word

BLOCK_BYTES = 1 << 20


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


def read_words(path: Path, mapping: ItemMapping, rows: RowsRead) -> Iterator[tuple[str, ItemWord]]:
    """The words that a file has about items, in its order; adds to `rows` what is read and left out.

    Raises NextclickError when the file cannot be read to its end, or lacks a column.
    """
    found = columns_of(path, mapping.columns, mapping.files, has_header=_has_header)

    def reject(of: Path, line: int, reason: str, text: bytes) -> None:
        rows.leave_out(line, _rejected(found, reason, text))

    on_broken = BrokenRows(True, Counter(), reject)
    account = on_broken.account
    chunks = file_chunks(path, found.form, on_broken, block_bytes=BLOCK_BYTES, may_be_cut=False)
    with closing(chunks):
        for chunk in chunks:
            columns = _texts(found.by_role(chunk.rows), mapping, found)
            for row, (broken, *texts) in enumerate(zip(chunk.broken, *columns.values(), strict=True)):
                try:
                    if broken:
                        raise _rejected(found, broken, b"")
                    values = {name: text for name, text in zip(columns, texts, strict=True) if text}
                    item_id = values.pop(ITEM, "")
                    # As workers will read it.
                    known, word = decode_word(item_id.encode(), encode_word(_word(values, mapping, found)))
                except RejectedWord as rejected:
                    account.left_out += 1
                    rows.leave_out(chunk.line_of(row)[0], rejected)
                    continue
                assert word is not None
                account.given += 1
                rows.words += 1
                yield known, word
    account.check(path, 1.0)


def _rejected(found: NamedColumns, reason: str, text: bytes) -> RejectedWord:
    """Why the readers of files could not read a row."""
    if reason == WRONG_FIELDS:
        fields = fields_of(text.decode("utf-8", "replace"), found.form.delimiter)
        return RejectedWord("columns", f"{len(fields)} values, {found.width} columns")
    return RejectedWord("unreadable", reason)


def _has_header(lines: list[str], delimiter: str) -> bool:
    """Whether the first line of a file names columns, where a mapping has numbers alone."""
    names = fields_of(lines[0], delimiter)
    return any(name_rank(one, name) is not None for one in WORDS for name in names)


def _texts(columns: pd.DataFrame, mapping: ItemMapping, found: NamedColumns) -> dict[str, list[str]]:
    """The columns as texts without blanks around them, by field; times of a named unit are milliseconds."""
    texts = {name: [str(text).strip() for text in columns[name].fillna("")] for name in columns}
    # An id is what it is in events.
    ids = ids_of(columns[ITEM].fillna("").astype("str"))
    texts[ITEM] = [text.strip() for text in ids]
    for name in TIMES:
        if name in columns and mapping.time_unit and not _has_type(found, name):
            times = said_times(pd.Series(texts[name], dtype="str"), mapping.time_unit, mapping.time_zone)
            texts[name] = [
                text if not text or pd.isna(ms) else str(int(ms))
                for text, ms in zip(texts[name], times, strict=True)
            ]
    return texts


def _has_type(found: NamedColumns, name: str) -> bool:
    kind = found.types.get(found.names[name])
    return kind is not None and bool(pa.types.is_temporal(kind))


def _word(values: dict[str, str], mapping: ItemMapping, found: NamedColumns) -> ItemWord:
    attributes = {
        name.removeprefix(ATTRIBUTE): text for name, text in values.items() if name.startswith(ATTRIBUTE)
    }
    moment = partial(moment_of, zone=mapping.time_zone)
    return ItemWord(
        values.get("title"),
        values.get("brand"),
        _category(values.get("category"), found),
        price_of(values["price"], mapping.files.decimal) if "price" in values else None,
        is_yes(values["available"], mapping.values) if "available" in values else True,
        moment(values["available_from"]) if "available_from" in values else None,
        moment(values["available_until"]) if "available_until" in values else None,
        dict(attributes) or None,
        values.get("image"),
        values.get("url"),
    )


def _category(text: str | None, found: NamedColumns) -> str | list[str] | None:
    # A list in JSON is read as its names with bars between them.
    of_json = found.form.parse is not None or found.form.chunks is not None
    for sign in (">", "|") if of_json else (">",):
        if text and sign in text:
            return [name.strip() for name in text.split(sign)]
    return text
