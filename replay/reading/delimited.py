"""Delimited event files as chunks of text columns, read by pyarrow.

Knows fields, quotes and headers, not what a format's columns mean. Memory is bounded by blocks.

Tested by tests/unit/replay/reading/test_broken_files.py.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from model.errors import NextclickError
from replay.reading.account import FileAccount
from replay.reading.format import Chunk, Format, reasons, same_text
from replay.reading.packed_files import WholeLines, first_line
from replay.reading.quotes import quoted_lines
from replay.reading.records import Records
from replay.reading.whole_records import LeaveOut, PlainLines, WholeRecords

FIELDS = "wrong number of fields"
# Called with a line that cannot be read: file, line number from 1, reason, content.
RejectLine = Callable[[Path, int, str, bytes], None]


@dataclass(frozen=True)
class BrokenRows:
    """What happens to rows with too few or too many fields.

    Without `skip` the first one raises NextclickError; with it they are counted in `rejects` and
    passed to `reject_line`. `account` counts them, and the lines that are no rows.
    """

    skip: bool
    rejects: Counter[str]
    reject_line: RejectLine | None = None
    account: FileAccount = field(default_factory=FileAccount)


def broken_line(path: Path, form: Format, line: int, reason: str, text: str) -> NextclickError:
    """The error of a line that cannot be read."""
    return NextclickError(
        f"{path}, line {line}: {reason}: {text[:200]!r}",
        f"It does not read as {form.name}; nothing behind it was taken.",
        "Repair the line, or skip such lines with --on-error skip.",
    )


def delimited_chunks(
    path: Path,
    form: Format,
    lines: WholeLines,
    *,
    block_bytes: int,
    on_broken: BrokenRows,
) -> Generator[Chunk, None, None]:
    """The file's rows. Raises NextclickError at a row with a wrong number of fields, unless skipped."""
    records = Records(path, form)
    try:
        yield from _chunks(path, form, lines, records, block_bytes, on_broken)
    finally:
        records.close()


def _chunks(
    path: Path,
    form: Format,
    lines: WholeLines,
    records: Records,
    block_bytes: int,
    on_broken: BrokenRows,
) -> Generator[Chunk, None, None]:
    invalid: pa.csv.InvalidRow | None = None
    skipped: list[int] = []
    rejected = 0
    reject_line, account = on_broken.reject_line, on_broken.account

    def on_invalid(row: pa.csv.InvalidRow) -> str:
        nonlocal invalid
        if on_broken.skip:
            on_broken.rejects[FIELDS] += 1
            account.left_out += 1
            account.unreadable += 1
            if reject_line is not None:
                skipped.append(row.number)
            return "skip"
        # Only a return value crosses pyarrow's boundary; the error is raised below.
        invalid = row
        return "error"

    def line_of(record: int) -> tuple[int, bytes]:
        # Skipped records lie between the rows.
        for number in skipped:
            if number > record:
                break
            record += 1
        return records.find(record)

    def reject_skipped() -> None:
        nonlocal rejected
        while reject_line is not None and rejected < len(skipped):
            line, text = records.find(skipped[rejected])
            rejected += 1
            reject_line(path, line, FIELDS, text)

    def leave_out(line: int, reason: str, text: bytes) -> None:
        # Without its header a file has no columns.
        if not on_broken.skip or (form.header and line == 1):
            raise broken_line(path, form, line, reason, text.decode("utf-8", "replace"))
        on_broken.rejects[reason] += 1
        if reject_line is not None:
            reject_line(path, line, reason, text)

    names = _names_in_file(path, form)
    source = _records_of(form, lines, leave_out)
    # Records before the chunk, including the header; blank lines are not records.
    before = 1 if form.header else 0
    try:
        for batch in _batches(form, source, list(names.values()), block_bytes, on_invalid):
            yield _chunk(form, batch.rename_columns(list(names)), before, line_of)
            before += batch.num_rows
            reject_skipped()
        reject_skipped()
        account.header = 1 if form.header and source.records else 0
        account.lines, account.blank = source.lines, source.blank - source.left_out
        account.continued = source.continued
        account.left_out += source.left_out
        account.unreadable += source.left_out
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        if invalid is not None:
            raise broken_line(
                path,
                form,
                records.find(invalid.number)[0],
                f"{FIELDS}, {invalid.actual_columns} instead of {invalid.expected_columns}",
                invalid.text.replace(source.delimiter, form.delimiter),
            ) from None
        if lines.cut_off is None:
            raise NextclickError(
                f"{path}: {error}",
                f"It does not read as {form.name}: {form.shape!r}.",
                "Repair the file, or name another --format.",
            ) from None


def open_columns(
    path: Path, form: Format, lines: WholeLines, columns: Sequence[str], *, block_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Some columns of the file as text, under their names in the file; skips rows of other lengths.

    Raises pa.ArrowInvalid or pa.ArrowKeyError when the file does not read as its format.
    """
    names = _names_in_file(path, form)
    source = _records_of(form, lines, lambda line, reason, text: None)
    wanted = [names[column] for column in columns]
    return _batches(form, source, wanted, block_bytes, lambda row: "skip")


def _records_of(form: Format, lines: WholeLines, leave_out: LeaveOut) -> WholeRecords:
    if form.quoted:
        return quoted_lines(form, lines, leave_out)
    fields = None if form.header else len(form.columns)
    return PlainLines(lines, form.delimiter, leave_out, fields=fields)


def _batches(
    form: Format,
    source: WholeRecords,
    wanted: list[str],
    block_bytes: int,
    on_invalid: Callable[[pa.csv.InvalidRow], str],
) -> Iterator[pa.RecordBatch]:
    reader: Iterator[pa.RecordBatch] = pa.csv.open_csv(
        pa.PythonFile(source, mode="r"),
        read_options=pa.csv.ReadOptions(
            use_threads=False,
            block_size=block_bytes,
            column_names=None if form.header else list(form.columns),
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=source.delimiter,
            quote_char='"' if form.quoted else False,
            # Every block of the source ends where a record ends.
            newlines_in_values=False,
            invalid_row_handler=on_invalid,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.large_string()),
            include_columns=wanted,
            strings_can_be_null=False,
            # _as_text checks each row, so that a single bad row can be skipped.
            check_utf8=False,
        ),
    )
    return reader


def header_of(line: str, delimiter: str = ",") -> list[str]:
    """The names in a header.

    >>> header_of('"SessionId";ItemId', ";")
    ['SessionId', 'ItemId']
    """
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        # A carriage return within the line, or a name of more than 128 KB.
        return line.split(delimiter)


def _names_in_file(path: Path, form: Format) -> dict[str, str]:
    """The name in this file of each column it has; absent optional columns are left out."""
    if not form.aliases:
        return {name: name for name in form.columns}
    header = header_of(first_line(path), form.delimiter)
    names = {}
    for name in form.columns:
        known = form.aliases.get(name, (name,))
        found = next((alias for alias in known if alias in header), None)
        if found is not None or name not in form.optional:
            names[name] = found or known[0]
    return names


def _chunk(
    form: Format, batch: pa.RecordBatch, before: int, line_of: Callable[[int], tuple[int, bytes]]
) -> Chunk:
    rows, unreadable = _as_text(batch, form.other_encoding)
    absent = same_text("", rows.index)
    for name in form.columns:
        if name not in rows:
            rows[name] = absent
    broken = reasons(rows.index, (pd.Series(unreadable), "not UTF-8"))
    return Chunk(
        rows,
        broken,
        lambda row: line_of(before + row + 1),
    )


def _as_text(batch: pa.RecordBatch, other_encoding: str | None) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """The columns as text, and which rows were not UTF-8."""
    unreadable = np.zeros(batch.num_rows, dtype=bool)
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            values = column.cast(pa.large_binary()).to_pylist()
            texts = [value.decode("utf-8", "replace") for value in values]
            wrong = [text.encode() != value for text, value in zip(texts, values, strict=True)]
            if other_encoding is None:
                unreadable |= wrong
            else:
                texts = [
                    value.decode(other_encoding) if other else text
                    for text, value, other in zip(texts, values, wrong, strict=True)
                ]
            column = pa.array(texts, pa.large_string())
        columns[name] = column
    return pa.table(columns).to_pandas(), unreadable
