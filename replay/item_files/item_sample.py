"""A sample of a file of items: a row for each item, under a header where there is one.

Tested by tests/unit/replay/item_files/test_item_guess.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from replay.item_files.item_mapping import ITEM
from replay.item_files.item_names import WORDS, name_rank
from replay.mappings.json_records import LIST
from replay.mappings.log_sample import LogSample, sample_of
from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.reading.containers.columnar import is_columnar
from replay.reading.packed_files import first_lines
from stream.file_shape import FileShape
from stream.log_mapping import Column


def item_sample(path: Path, said: FileShape) -> LogSample:
    """A sample whose header is settled: a table of items nearly always has one. Raises NextclickError."""
    delimiter = said.delimiter
    if not is_columnar(path) and not delimiter:
        first = first_lines(path, 1)[0]
        delimiter = max(DELIMITERS, key=lambda sign: len(fields_of(first, sign)))
    sample = sample_of(path, delimiter=delimiter, least_fields=1)
    if sample.container != "csv":
        return _one_row_an_item(sample)
    named = any(name_rank(one, name) is not None for one in WORDS for name in sample.first)
    header = said.header if said.header is not None else named or sample.header is not False
    return sample.with_header(header)


def _one_row_an_item(sample: LogSample) -> LogSample:
    """The sample of records without a row for each element of a list, where items are no elements.

    A list of names stays as a category.
    """
    of_lists = [column for column in sample.columns if LIST in str(column)]
    items = [column for column in sample.columns if name_rank(ITEM, str(column)) is not None]
    if not of_lists or (items and all(LIST in str(column) for column in items)):
        return sample
    kept: dict[Column, Column] = {column: column for column in sample.columns if column not in of_lists}
    for column in map(str, of_lists):
        if column.endswith(LIST) and name_rank("category", column) is not None:
            kept[column.removesuffix(LIST)] = column
    places = [sample.columns.index(column) for column in kept.values()]
    plain = [place for place, column in zip(places, kept.values(), strict=True) if column not in of_lists]
    rows: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in sample.rows:
        rows.setdefault(tuple(row[place] for place in plain), tuple(row[place] for place in places))
    return replace(sample, columns=tuple(kept), rows=list(rows.values()))
