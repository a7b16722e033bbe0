"""Parquet files as chunks of text columns, read by row groups, never as a whole.

Tested by tests/unit/replay/datasets/test_published_formats.py and tests/cases/test_parquet_ids.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.errors import NextclickError
from replay.reading.account import FileAccount
from replay.reading.format import LEAST_MS, MILLISECONDS, Chunk, Format, reasons

MAGIC = b"PAR1"
BATCH_ROWS = 65_536
NOTHING = ""


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does; False for a file that cannot be opened.

    >>> is_parquet(Path("/dev/null"))
    False
    """
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def parquet_names(path: Path) -> list[str]:
    """The names of the file's columns. Raises NextclickError when it is cut off or damaged."""
    return list(parquet_schema(path).names)


def parquet_schema(path: Path) -> pa.Schema:
    """The names and types of the file's columns. Raises NextclickError when it is cut off or damaged."""
    with _open(path) as file:
        return file.schema_arrow


def parquet_chunks(path: Path, form: Format, account: FileAccount) -> Iterator[Chunk]:
    """The rows of the file, numbered from 1 like lines; missing values are "". `account` counts them.

    Raises NextclickError when the file is damaged, or when a column has no text, number or time.
    """
    with _open(path) as file:
        present = file.schema_arrow.names
        names = {
            role: next((name for name in form.aliases.get(role, (role,)) if name in present), None)
            for role in form.columns
        }
        before = 0
        account.lines = file.metadata.num_rows
        try:
            wanted = [name for name in names.values() if name is not None]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
                columns = {
                    role: _as_text(batch.column(name), name) if name is not None else _nothing(len(batch))
                    for role, name in names.items()
                }
                yield _chunk(pa.table(columns).to_pandas(), before)
                before += len(batch)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise NextclickError(
                f"{path}, row {before + 1}: {error}",
                "It cannot be read from here on.",
                "Fetch the file again, or name columns of texts, numbers and times with --columns.",
            ) from None


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise NextclickError(
            f"{path} does not read as Parquet: {error}",
            "It is cut off, damaged, or something else.",
            "Fetch the file again.",
        ) from None


def _chunk(rows: pd.DataFrame, before: int) -> Chunk:
    return Chunk(
        rows,
        reasons(rows.index),
        lambda row: (before + row + 1, ",".join(str(value) for value in rows.iloc[row]).encode()),
    )


def _as_text(column: pa.Array, name: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        # Times without a zone are UTC. Fractions of a millisecond are dropped.
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
        milliseconds = True
    else:
        milliseconds = name.endswith(MILLISECONDS) and pa.types.is_integer(column.type)
    least = pc.min(column).as_py() if milliseconds else None
    if least is not None and least < LEAST_MS:
        # As numbers, milliseconds this small would be read as seconds.
        column = column.cast(pa.int64()).cast(pa.timestamp("ms"))
    if pa.types.is_floating(column.type):
        return _number_texts(column)
    return pc.fill_null(column.cast(pa.string()), NOTHING)


def _number_texts(column: pa.Array) -> pa.Array:
    """Floats as texts, whole ones as integers: pandas stores integers as floats where one is missing."""
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    column = pc.if_else(pc.is_nan(column), None, column)
    numbers = column.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**63))
    integers = pc.if_else(whole, numbers, None).cast(pa.int64())
    return pc.fill_null(pc.coalesce(integers.cast(pa.string()), column.cast(pa.string())), NOTHING)


def _nothing(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(NOTHING), rows)
