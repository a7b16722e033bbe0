"""Columns that are named by name, by number or by path, in a file of any container.

What is not said is seen in the file: its container, its delimiter, and whether its first line is a header.
What the columns mean is not known here.

Tested by tests/unit/replay/mappings/test_mapped_files.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pyarrow as pa

from model.errors import NextclickError
from replay.mappings.json_records import (
    LIST,
    RecordRows,
    array_records,
    decoded,
    document_record,
    line_records,
    record_chunks,
)
from replay.reading.account import FileAccount
from replay.reading.containers.column_batches import CONTAINERS, container_of
from replay.reading.containers.columnar import column_types
from replay.reading.delimited import header_of
from replay.reading.format import Chunk, Format, UnreadableLine
from replay.reading.packed_files import WholeLines, first_lines
from stream.file_shape import FileShape
from stream.log_mapping import Column

DELIMITERS = (",", "\t", ";", "|", "::")
# Lines by which a delimiter and a header are seen.
LINES = 20
# Says of lines and their delimiter whether the first one is a header.
HasHeader = Callable[[list[str], str], bool]


@dataclass(frozen=True)
class NamedColumns:
    """A file's format, without a meaning of its columns; the column of each role; the types the file says.

    `width` is the number of fields of a delimited file, else 0.
    """

    form: Format
    names: Mapping[str, str]
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    width: int = 0

    def by_role(self, chunk: pd.DataFrame) -> pd.DataFrame:
        """The columns of a chunk of the file, under their roles."""
        return pd.DataFrame({role: chunk[name] for role, name in self.names.items()})


def columns_of(
    path: Path, columns: Mapping[str, Column], files: FileShape, name: str = "", *, has_header: HasHeader
) -> NamedColumns:
    """The columns in a file, by role; `name` is that of a known layout.

    `has_header` is asked where all columns are numbers and the shape does not say it. Raises NextclickError
    when the file lacks a column, or is of another container.
    """
    container = files.container
    seen = container_of(path)
    if seen and container in ("", seen.split()[0]):
        return _columnar(path, columns, name or seen.split()[0])
    if seen or container in CONTAINERS:
        raise NextclickError(
            f"{path} is no file of {container}",
            f"The mapping says that it is one{f', and it begins as {seen} does' if seen else ''}. "
            "CSV, JSON, JSON lines, Parquet, Arrow and ORC are read.",
            "Change its container in the mapping, or leave it out: it is seen in the file.",
        )
    lines = [line for line in first_lines(path, LINES) if line.strip()]
    if not lines:
        raise NextclickError(f"{path} is empty", "It has no rows.", "Check the file.")
    if container in ("json", "json-lines") or (not container and _is_json(lines[0])):
        return _json(lines, columns, container, name)
    return _delimited(path, lines, columns, files, name, has_header)


def _is_json(line: str) -> bool:
    start = line.strip()
    if start.startswith("{") or start in ("[", "[{"):
        return True
    return start.startswith("[") and start.lstrip("[ ").startswith(("{", '"', *"0123456789"))


def _json(lines: list[str], columns: Mapping[str, Column], said: str, name: str) -> NamedColumns:
    rows = RecordRows(columns)
    array = lines[0].lstrip().startswith("[") and (said == "json" or (not said and _is_array(lines, columns)))
    document = said != "json-lines" and not array and rows.many and _goes_on(lines)

    def parse(line: bytes) -> tuple[str, ...]:
        return rows(decoded(line))[0]

    def chunks(lines: WholeLines, account: FileAccount, block_bytes: int) -> Iterator[Chunk]:
        read = array_records if array else document_record if document else line_records
        return record_chunks(rows.roles, rows, read(lines, block_bytes), account)

    many = array or rows.many
    form = Format(
        name or ("json" if array or document else "json-lines"),
        ", ",
        rows.roles,
        False,
        lambda line: False,
        _no_meaning,
        parse=None if many else parse,
        chunks=chunks if many else None,
        aliases={role: (str(column),) for role, column in columns.items()},
    )
    return NamedColumns(form, {role: role for role in rows.roles})


def _goes_on(lines: list[str]) -> bool:
    """Whether an object of JSON begins in the first line and does not end there."""
    try:
        decoded(lines[0].encode())
    except UnreadableLine:
        return len(lines) > 1 and lines[0].lstrip().startswith("{") and not lines[1].lstrip().startswith("{")
    return False


def _is_array(lines: list[str], columns: Mapping[str, Column]) -> bool:
    """Whether a file is one array of records, and not a line of JSON for each."""
    if not lines[0].lstrip().startswith("["):
        return False
    try:
        first = decoded(lines[0].encode())
    except UnreadableLine:
        return True
    of_lists = any(str(column).startswith(LIST) for column in columns.values())
    return isinstance(first, list) and all(isinstance(one, dict) for one in first) and not of_lists


def _columnar(path: Path, columns: Mapping[str, Column], name: str) -> NamedColumns:
    types = column_types(path)
    names = {role: _named(path, column, list(types)) for role, column in columns.items()}
    form = Format(
        name,
        ",",
        tuple(dict.fromkeys(names.values())),
        True,
        lambda line: False,
        _no_meaning,
        parquet=True,
    )
    return NamedColumns(form, names, types)


def _delimited(
    path: Path,
    lines: list[str],
    columns: Mapping[str, Column],
    files: FileShape,
    name: str,
    has_header: HasHeader,
) -> NamedColumns:
    delimiter = files.delimiter or _delimiter(lines, columns)
    header = files.header
    if header is None:
        # Columns that have names need a header.
        header = any(isinstance(one, str) for one in columns.values()) or has_header(lines, delimiter)
    quoted = len(delimiter) == 1 and files.quotes is not False
    fields = fields_of(lines[0], delimiter) if quoted else lines[0].split(delimiter)
    present = fields if header else [f"column {n}" for n in range(1, len(fields) + 1)]
    names = {role: _named(path, column, present, header=header) for role, column in columns.items()}
    form = Format(
        name or "delimited",
        delimiter,
        tuple(dict.fromkeys(names.values())) if header else tuple(present),
        header,
        lambda line: False,
        _no_meaning,
        quoted=quoted,
        other_encoding=files.encoding or None,
    )
    return NamedColumns(form, names, width=len(present))


def _no_meaning(*unit: object) -> NoReturn:
    raise TypeError("named columns have no meaning: their format is given a converter first")


def fields_of(line: str, delimiter: str) -> list[str]:
    """The fields of a line.

    >>> fields_of("1::2", "::")
    ['1', '2']
    """
    return header_of(line, delimiter) if len(delimiter) == 1 else line.split(delimiter)


def _delimiter(lines: list[str], columns: Mapping[str, Column]) -> str:
    """The delimiter by which the lines have the columns."""
    names = [name for name in columns.values() if isinstance(name, str)]
    most = max((number for number in columns.values() if isinstance(number, int)), default=1)

    def fit(delimiter: str) -> tuple[int, int, int]:
        counts = [len(fields_of(line, delimiter)) for line in lines]
        found = sum(name in fields_of(lines[0], delimiter) for name in names)
        return found, sum(count == counts[0] >= most for count in counts), counts[0]

    return max(DELIMITERS, key=fit)


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
