"""Event files as frames: detect the format, read in chunks, say exactly what is wrong.

A frame has the columns session_id, item_id, event_time_ms and kind, and user_id, price,
brand, category and title where the format has them. `read` keeps memory bounded and the
order of the file; `load` returns the whole log in event-time order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from model.errors import NextclickError
from replay.datasets import globo, mkechinov, online_retail, rsc15
from replay.datasets.format import Convert, Format, beyond_the_schema
from replay.datasets.source import CUT_OFF, WholeLines, cut_off, line_of_record, open_file

FORMATS = {
    f.name: f for f in (globo.FORMAT, rsc15.PREPROCESSED, rsc15.RAW, mkechinov.FORMAT, online_retail.FORMAT)
}
BLOCK_BYTES = 8 << 20


def detect(path: Path) -> str:
    """The name of a file's format, from its first line. Raises NextclickError when it is unknown."""
    try:
        with open_file(path) as file:
            line = file.readline(65_536).decode("utf-8-sig", "replace").rstrip("\r\n")
    except CUT_OFF as error:
        raise cut_off(path, 1, error) from None
    for candidate in FORMATS.values():
        if candidate.matches(line):
            return candidate.name
    known = "; ".join(f"{f.name}: {f.delimiter.join(f.columns)!r}" for f in FORMATS.values() if f.header)
    raise NextclickError(
        f"{path}, line 1: the format is unknown: {line[:200]!r}" if line else f"{path} is empty",
        f"A header like one of these was expected: {known}.",
        "Check the file, or name its format with --format.",
    )


def read(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    on_error: str = "stop",
    rejects: Counter[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Event frames of bounded size, in the order of the files.

    A row that cannot be read raises NextclickError, which names file and line; with
    `on_error="skip"` it is counted in `rejects` by reason and skipped; of a file that is cut
    off the lines before the cut are taken then. Rows that are no events by their format's
    own rules are left out and counted either way.
    """
    rejects = Counter() if rejects is None else rejects
    for path in paths:
        name = format or detect(path)
        if name not in FORMATS:
            raise NextclickError(
                f"there is no format {name!r}",
                f"Known are: {', '.join(FORMATS)}.",
                "Name one of them with --format.",
            )
        yield from _read_one(path, FORMATS[name], on_error == "skip", rejects)
        pa.default_memory_pool().release_unused()


def load(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    on_error: str = "stop",
    rejects: Counter[str] | None = None,
) -> pd.DataFrame:
    """The whole log in event-time order, stable for equal times. Raises NextclickError without events."""
    chunks = list(read(paths, format=format, on_error=on_error, rejects=rejects))
    if not any(len(chunk) for chunk in chunks):
        raise NextclickError(
            f"{', '.join(str(p) for p in paths)}: no events",
            f"Left out: {dict(rejects or {}) or 'nothing'}.",
            "Name a file that has events.",
        )
    frame = pd.concat(chunks, ignore_index=True)
    if not frame["event_time_ms"].is_monotonic_increasing:
        frame = frame.sort_values("event_time_ms", kind="stable", ignore_index=True)
    return frame


def _read_one(path: Path, form: Format, skip: bool, rejects: Counter[str]) -> Iterator[pd.DataFrame]:
    invalid: pa.csv.InvalidRow | None = None

    def on_invalid(row: pa.csv.InvalidRow) -> str:
        nonlocal invalid
        if skip:
            rejects["wrong number of fields"] += 1
            return "skip"
        # Only a return value crosses pyarrow's boundary; the error is raised below.
        invalid = row
        return "error"

    read_options = pa.csv.ReadOptions(
        use_threads=False,
        block_size=BLOCK_BYTES,
        column_names=None if form.header else list(form.columns),
    )
    parse_options = pa.csv.ParseOptions(
        delimiter=form.delimiter,
        newlines_in_values=form.delimiter == ",",
        invalid_row_handler=on_invalid,
    )
    convert_options = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(form.columns, pa.string()),
        include_columns=list(form.columns),
        strings_can_be_null=False,
        # Checked by row in _as_text, so that one such row can be skipped.
        check_utf8=False,
    )
    convert = form.converter()
    # Records before the chunk, the header's included; blank lines are none.
    before = 1 if form.header else 0
    with open_file(path) as file:
        lines = WholeLines(file)
        try:
            reader = pa.csv.open_csv(
                pa.PythonFile(lines, mode="r"),
                read_options=read_options,
                parse_options=parse_options,
                convert_options=convert_options,
            )
            for batch in reader:
                yield _convert(path, form, convert, batch, before, skip, rejects)
                before += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if invalid is not None:
                raise _broken_line(
                    path,
                    form,
                    invalid.number,
                    f"wrong number of fields, {invalid.actual_columns} instead of {invalid.expected_columns}",
                    invalid.text,
                ) from None
            if lines.cut_off is None:
                raise NextclickError(
                    f"{path}: {error}",
                    f"It does not read as {form.name}: {form.delimiter.join(form.columns)!r}.",
                    "Repair the file, or name another --format.",
                ) from None
    if lines.cut_off is not None:
        if not skip:
            raise cut_off(path, lines.lines + 1, lines.cut_off)
        rejects["file is cut off"] += 1


def _as_text(batch: pa.RecordBatch) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Columns as text, and which rows were not UTF-8."""
    unreadable = np.zeros(batch.num_rows, dtype=bool)
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            values = column.cast(pa.binary()).to_pylist()
            texts = [value.decode("utf-8", "replace") for value in values]
            unreadable |= [text.encode() != value for text, value in zip(texts, values, strict=True)]
            column = pa.array(texts, pa.string())
        columns[name] = column
    return pa.table(columns).to_pandas(), unreadable


def _convert(
    path: Path,
    form: Format,
    convert: Convert,
    batch: pa.RecordBatch,
    before: int,
    skip: bool,
    rejects: Counter[str],
) -> pd.DataFrame:
    chunk, unreadable = _as_text(batch)
    converted = convert(chunk)
    left_out = converted.left_out != ""
    reason = converted.broken.where(converted.broken != "", beyond_the_schema(converted.events))
    reason[unreadable] = "not UTF-8"
    broken = (reason != "") & ~left_out
    if broken.any() and not skip:
        row = int(broken.to_numpy().argmax())
        text = form.delimiter.join(str(value) for value in chunk.iloc[row])
        raise _broken_line(path, form, before + row + 1, reason.iloc[row], text)
    for name, count in converted.left_out[left_out].value_counts().items():
        rejects[str(name)] += int(count)
    for name, count in reason[broken].value_counts().items():
        rejects[str(name)] += int(count)
    return converted.events[~(left_out | broken)].reset_index(drop=True)


def _broken_line(path: Path, form: Format, record: int, reason: str, text: str) -> NextclickError:
    return NextclickError(
        f"{path}, line {line_of_record(path, form.delimiter, record)}: {reason}: {text[:200]!r}",
        f"It does not read as {form.name}; nothing behind it was taken.",
        "Repair the line, or skip such lines with --on-error skip.",
    )
