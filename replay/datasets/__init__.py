"""Event files as frames: detect the format, read in chunks, say exactly what is wrong.

A frame has the columns session_id, item_id, event_time_ms and kind, and user_id, price,
brand, category and title where the format has them. `read` keeps memory bounded and the
order of the file; `load` returns the whole log in event-time order.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from model.errors import NextclickError
from replay.datasets import globo, mkechinov, online_retail, rsc15
from replay.datasets.format import Format

FORMATS = {
    f.name: f for f in (globo.FORMAT, rsc15.PREPROCESSED, rsc15.RAW, mkechinov.FORMAT, online_retail.FORMAT)
}
BLOCK_BYTES = 8 << 20
CUT_OFF = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed by its ending: .xz, .gz, .bz2, .zip (its one member)."""
    try:
        if path.suffix == ".zip":
            archive = zipfile.ZipFile(path)
            members = [name for name in archive.namelist() if not name.endswith("/")]
            if len(members) != 1:
                raise NextclickError(
                    f"{path} holds {len(members)} files",
                    "One event file per archive is read.",
                    "Unpack it and name the files.",
                )
            return archive.open(members[0])
        if path.suffix == ".xz":
            return lzma.open(path)
        if path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(path))
        if path.suffix == ".bz2":
            return bz2.open(path)
        return path.open("rb")
    except OSError as error:
        raise NextclickError(
            f"{path} cannot be opened: {error.strerror or error}", "Nothing was read.", "Check the path."
        ) from None
    except zipfile.BadZipFile as error:
        raise _cut_off(path, error) from None


def detect(path: Path) -> str:
    """The name of a file's format, from its first line. Raises NextclickError when it is unknown."""
    try:
        with open_file(path) as file:
            line = file.readline(65_536).decode("utf-8-sig", "replace").rstrip("\r\n")
    except CUT_OFF as error:
        raise _cut_off(path, error) from None
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
    `on_error="skip"` it is counted in `rejects` by reason and skipped. Rows that are no
    events by their format's own rules are left out and counted either way.
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
    cut_lines = 0

    def on_invalid(row: pa.csv.InvalidRow) -> str:
        nonlocal cut_lines
        if not skip:
            # Only a return value crosses pyarrow's boundary; its own error then names the row.
            return "error"
        cut_lines += 1
        rejects["wrong number of fields"] += 1
        return "skip"

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
    )
    line = 2 if form.header else 1
    with open_file(path) as file:
        try:
            reader = pa.csv.open_csv(
                pa.PythonFile(file, mode="r"),
                read_options=read_options,
                parse_options=parse_options,
                convert_options=convert_options,
            )
            for batch in reader:
                chunk = batch.to_pandas()
                yield _convert(path, form, chunk, line + cut_lines, skip, rejects)
                line += len(chunk)
        except CUT_OFF as error:
            raise _cut_off(path, error) from None
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise NextclickError(
                f"{path}: {error}",
                f"It does not read as {form.name}: {form.delimiter.join(form.columns)!r}.",
                "Repair the line, skip such lines with --on-error skip, or name another --format.",
            ) from None


def _convert(
    path: Path, form: Format, chunk: pd.DataFrame, first_line: int, skip: bool, rejects: Counter[str]
) -> pd.DataFrame:
    converted = form.convert(chunk)
    left_out = converted.left_out != ""
    broken = (converted.broken != "") & ~left_out
    if broken.any() and not skip:
        row = int(broken.to_numpy().argmax())
        values = form.delimiter.join(str(value) for value in chunk.iloc[row])
        raise NextclickError(
            f"{path}, line {first_line + row}: {converted.broken.iloc[row]}: {values[:200]!r}",
            f"It does not read as {form.name}; nothing behind it was taken.",
            "Repair the line, or skip such lines with --on-error skip.",
        )
    for reason, count in converted.left_out[left_out].value_counts().items():
        rejects[str(reason)] += int(count)
    for reason, count in converted.broken[broken].value_counts().items():
        rejects[str(reason)] += int(count)
    return converted.events[~(left_out | broken)].reset_index(drop=True)


def _cut_off(path: Path, error: Exception) -> NextclickError:
    return NextclickError(
        f"{path} is cut off or not what its ending says: {error}",
        "It cannot be decompressed to its end.",
        "Fetch the file again.",
    )
