"""The format of a file whose columns a mapping names: by name, by number or by path.

What the mapping leaves open is seen in the file: its container, its delimiter, and whether its first line
is a header.

Tested by tests/unit/replay/mappings/test_mapped_files.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from model.errors import NextclickError
from replay.mappings.event_times import check_unit, said_times
from replay.mappings.json_records import (
    LIST,
    RecordRows,
    array_records,
    decoded,
    document_record,
    line_records,
    record_chunks,
)
from replay.mappings.role_columns import MS, NAIVE_MS, NO_ITEM, convert
from replay.reading.account import FileAccount
from replay.reading.delimited import header_of
from replay.reading.format import MILLISECONDS, Chunk, Convert, Converted, Format, UnreadableLine
from replay.reading.packed_files import WholeLines, first_lines
from replay.reading.parquet import is_parquet, parquet_schema
from replay.reading.time_evidence import UnclearTimes, resolve
from replay.reading.times import TimeUnit
from stream.log_mapping import RECORD_COLUMNS, Column, LogMapping

DELIMITERS = (",", "\t", ";", "|", "::")
# Lines by which a delimiter and a header are seen.
LINES = 20


def format_of(path: Path, mapping: LogMapping, name: str = "", *, without_item: bool = False) -> Format:
    """The format of a file whose columns the mapping names; `name` is that of a known layout.

    With `without_item` rows that have no item are no events; otherwise they cannot be read. Raises
    NextclickError when the file lacks a column, or is of another container.
    """
    form = _format_of(path, mapping, name)
    return replace(form, converter=_leaving_out_no_item(form.converter)) if without_item else form


def _format_of(path: Path, mapping: LogMapping, name: str) -> Format:
    check_unit(mapping.time_unit)
    if of_topics := [str(one) for one in mapping.columns.values() if str(one).startswith(RECORD_COLUMNS)]:
        raise NextclickError(
            f"{path} has no column {', '.join(of_topics)}: it is of the records of a topic",
            "A file has columns only.",
            "Name its own columns with --columns.",
        )
    container = mapping.files.container
    if container in ("", "parquet") and is_parquet(path):
        return _parquet(path, mapping, name)
    if container in ("parquet", "arrow", "orc"):
        raise NextclickError(
            f"{path} is no file of {container}",
            "The mapping says that it is one; CSV, JSON, JSON lines and Parquet are read.",
            "Change its container in the mapping, or leave it out: it is seen in the file.",
        )
    lines = [line for line in first_lines(path, LINES) if line.strip()]
    if not lines:
        raise NextclickError(f"{path} is empty", "It has no events.", "Check the file.")
    if container in ("json", "json-lines") or (not container and _is_json(lines[0])):
        return _json(lines, mapping, name)
    return _delimited(path, lines, mapping, name)


def _is_json(line: str) -> bool:
    start = line.strip()
    if start.startswith("{") or start in ("[", "[{"):
        return True
    return start.startswith("[") and start.lstrip("[ ").startswith(("{", '"', *"0123456789"))


def _json(lines: list[str], mapping: LogMapping, name: str) -> Format:
    rows = RecordRows(mapping.columns)
    said = mapping.files.container
    array = lines[0].lstrip().startswith("[") and (said == "json" or (not said and _is_array(lines, mapping)))
    document = said != "json-lines" and not array and rows.many and _goes_on(lines)

    def parse(line: bytes) -> tuple[str, ...]:
        return rows(decoded(line))[0]

    def chunks(lines: WholeLines, account: FileAccount, block_bytes: int) -> Iterator[Chunk]:
        read = array_records if array else document_record if document else line_records
        return record_chunks(rows.roles, rows, read(lines, block_bytes), account)

    many = array or rows.many
    return Format(
        name or ("json" if array or document else "json-lines"),
        ", ",
        rows.roles,
        False,
        lambda line: False,
        _converter(mapping, rows.roles, {role: role for role in rows.roles}, _by_name(mapping)),
        parse=None if many else parse,
        chunks=chunks if many else None,
        aliases={role: (str(column),) for role, column in mapping.columns.items()},
        time_column=None if mapping.time_unit or _by_name(mapping) else "time",
    )


def _goes_on(lines: list[str]) -> bool:
    """Whether an object of JSON begins in the first line and does not end there."""
    try:
        decoded(lines[0].encode())
    except UnreadableLine:
        return len(lines) > 1 and lines[0].lstrip().startswith("{") and not lines[1].lstrip().startswith("{")
    return False


def _is_array(lines: list[str], mapping: LogMapping) -> bool:
    """Whether a file is one array of records, and not a line of JSON for each."""
    if not lines[0].lstrip().startswith("["):
        return False
    try:
        first = decoded(lines[0].encode())
    except UnreadableLine:
        return True
    of_lists = any(str(column).startswith(LIST) for column in mapping.columns.values())
    return isinstance(first, list) and all(isinstance(one, dict) for one in first) and not of_lists


def _parquet(path: Path, mapping: LogMapping, name: str) -> Format:
    schema = parquet_schema(path)
    names = {role: _named(path, column, list(schema.names)) for role, column in mapping.columns.items()}
    kind = schema.field(names["time"]).type
    held_as = _by_name(mapping)
    if pa.types.is_timestamp(kind):
        held_as = MS if kind.tz else NAIVE_MS
    elif pa.types.is_date(kind):
        held_as = NAIVE_MS
    return Format(
        name or "parquet",
        ",",
        tuple(dict.fromkeys(names.values())),
        True,
        lambda line: False,
        _converter(mapping, tuple(names), names, held_as),
        parquet=True,
        time_column=None if mapping.time_unit or held_as else names["time"],
    )


def _delimited(path: Path, lines: list[str], mapping: LogMapping, name: str) -> Format:
    delimiter = mapping.files.delimiter or _delimiter(lines, mapping)
    header = mapping.files.header
    if header is None:
        header = _has_header(lines, delimiter, mapping)
    quoted = len(delimiter) == 1 and mapping.files.quotes is not False
    fields = fields_of(lines[0], delimiter) if quoted else lines[0].split(delimiter)
    present = fields if header else [f"column {n}" for n in range(1, len(fields) + 1)]
    names = {role: _named(path, column, present, header=header) for role, column in mapping.columns.items()}
    return Format(
        name or "delimited",
        delimiter,
        tuple(dict.fromkeys(names.values())) if header else tuple(present),
        header,
        lambda line: False,
        _converter(mapping, tuple(names), names, _by_name(mapping)),
        quoted=quoted,
        other_encoding=mapping.files.encoding or None,
        time_column=None if mapping.time_unit or _by_name(mapping) else names["time"],
    )


def _by_name(mapping: LogMapping) -> str:
    """How the name of the times says that they are held; "" where it says nothing, or the mapping does."""
    return MS if str(mapping.columns["time"]).endswith(MILLISECONDS) and not mapping.time_unit else ""


def fields_of(line: str, delimiter: str) -> list[str]:
    """The fields of a line.

    >>> fields_of("1::2", "::")
    ['1', '2']
    """
    return header_of(line, delimiter) if len(delimiter) == 1 else line.split(delimiter)


def _delimiter(lines: list[str], mapping: LogMapping) -> str:
    """The delimiter by which the lines have the columns of the mapping."""
    names = [name for name in mapping.columns.values() if isinstance(name, str)]
    most = max((number for number in mapping.columns.values() if isinstance(number, int)), default=1)

    def fit(delimiter: str) -> tuple[int, int, int]:
        counts = [len(fields_of(line, delimiter)) for line in lines]
        found = sum(name in fields_of(lines[0], delimiter) for name in names)
        return found, sum(count == counts[0] >= most for count in counts), counts[0]

    return max(DELIMITERS, key=fit)


def _has_header(lines: list[str], delimiter: str, mapping: LogMapping) -> bool:
    """Whether the first line names columns: columns of names need one, and numbers show it by no time."""
    if any(isinstance(column, str) for column in mapping.columns.values()):
        return True
    place = mapping.columns["time"]
    assert isinstance(place, int)
    cells = [fields[place - 1] for line in lines if len(fields := fields_of(line, delimiter)) >= place]
    texts = pd.Series(cells, dtype="str")
    try:
        unit = mapping.time_unit or resolve(texts.iloc[1:]).unit
    except UnclearTimes:
        # Times that are not clear have digits all the same.
        return len(cells) > 1 and not re.search(r"\d", cells[0])
    times = said_times(texts, unit, mapping.time_zone)
    return len(cells) > 1 and bool(times.isna().iloc[0]) and bool(times.iloc[1:].notna().any())


def _named(path: Path, column: Column, present: list[str], *, header: bool = True) -> str:
    """The name of a column in a file. Raises NextclickError when the file lacks it, or has it twice."""
    if isinstance(column, int):
        if column > len(present):
            raise NextclickError(
                f"{path} has no column {column}",
                f"It has {len(present)} columns.",
                "Name its own columns with --columns.",
            )
        column = present[column - 1]
    if column not in present:
        near = difflib.get_close_matches(column, present, 1, cutoff=0.6)
        raise NextclickError(
            f"{path} has no column {column}",
            f"It has {', '.join(present)}." if header else "The mapping says that it has no header.",
            "Name its own columns with --columns" + (f"; is it {near[0]}?" if near else "."),
        )
    if present.count(column) > 1:
        raise NextclickError(
            f"{path} has {present.count(column)} columns named {column!r}",
            "Which of them is meant is not known.",
            "Rename one of them in the header.",
        )
    return column


def _converter(
    mapping: LogMapping, roles: tuple[str, ...], names: dict[str, str], held_as: str = ""
) -> Callable[..., Convert]:
    def convert_with(unit: TimeUnit | None = None) -> Convert:
        def convert_file(chunk: pd.DataFrame) -> Converted:
            columns = pd.DataFrame({role: chunk[names[role]] for role in roles})
            return convert(columns, mapping, held_as=held_as, unit=unit)

        return convert_file

    return convert_with


def _leaving_out_no_item(converter: Callable[..., Convert]) -> Callable[..., Convert]:
    def leave_out(converted: Converted) -> Converted:
        without = converted.broken == NO_ITEM
        return Converted(
            converted.events,
            converted.broken.mask(without, ""),
            converted.left_out.mask(without & (converted.left_out == ""), NO_ITEM),
        )

    def make(*unit: TimeUnit) -> Convert:
        convert_file = converter(*unit)
        return lambda chunk: leave_out(convert_file(chunk))

    return make
