"""Parquet, Arrow (Feather) and ORC files as chunks of text columns, read in parts, never as a whole.

A column is a name, or a path: `user.id` is a field of a record, `events[].aid` one of each element of a
list, which makes a row of each.

Tested by tests/cases/test_columnar.py, tests/unit/replay/datasets/test_published_formats.py and
tests/cases/test_parquet_ids.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import NextclickError
from replay.reading.account import FileAccount
from replay.reading.containers.column_batches import (
    CONTAINERS,
    DAMAGED,
    ColumnBatches,
    batches,
    container_of,
)
from replay.reading.format import MILLISECONDS, Chunk, Format, reasons
from stream.time_units import LEAST_MS

NOTHING = ""
LIST = "[]"


def is_columnar(path: Path) -> bool:
    """Whether a file begins as Parquet, Arrow or ORC do; False for a file that cannot be opened.

    >>> is_columnar(Path("/dev/null"))
    False
    """
    return container_of(path) in CONTAINERS


def column_types(path: Path) -> dict[str, pa.DataType]:
    """The type of each column and of each path within one. Raises NextclickError for a damaged file."""
    with closing(opened(path)) as file:
        return types_in(file.schema)


def types_in(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The type of each column and of each path within one, the columns first.

    >>> item = pa.struct({"aid": pa.int64()})
    >>> list(types_in(pa.schema({"events": pa.list_(item), "user": pa.struct({"id": pa.int32()})})))
    ['events', 'user', 'events[]', 'events[].aid', 'user.id']
    """
    found = {field.name: field.type for field in schema}
    for name, kind in list(found.items()):
        # A name with a point stands for itself.
        for path, inner in _below(name, kind):
            found.setdefault(path, inner)
    return found


def _below(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield f"{name}.{field.name}", field.type
            yield from _below(f"{name}.{field.name}", field.type)
    elif _is_list(kind):
        yield f"{name}{LIST}", kind.value_type
        yield from _below(f"{name}{LIST}", kind.value_type)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def columnar_chunks(path: Path, form: Format, account: FileAccount) -> Iterator[Chunk]:
    """The rows of the file, numbered from 1 like lines; missing values are "". `account` counts them.

    Raises NextclickError when the file is damaged, or when a column has no text, number or time.
    """
    with closing(opened(path)) as file:
        present = types_in(file.schema)
        names = {
            role: next((name for name in form.aliases.get(role, (role,)) if name in present), None)
            for role in form.columns
        }
        places = {name: place_of(name, file.schema.names) for name in names.values() if name is not None}
        _check_lists(path, places)
        before = 0
        try:
            for batch in batches(file, sorted({root for root, _ in places.values()})):
                found, records = values_of(batch, places)
                rows = len(batch) if records is None else len(records)
                columns = {
                    role: _as_text(found[name], name) if name is not None else _nothing(rows)
                    for role, name in names.items()
                }
                account.lines += len(batch) if records is None else rows
                if records is not None:
                    # A record without elements counts as a blank line.
                    empty = len(batch) - len(np.unique(records))
                    account.lines, account.blank = account.lines + empty, account.blank + empty
                yield _chunk(pa.table(columns).to_pandas(), before, records)
                before += len(batch)
        except DAMAGED as error:
            raise NextclickError(
                f"{path}, row {before + 1}: {error}",
                "It cannot be read from here on.",
                "Fetch the file again, or name columns of texts, numbers and times with --columns.",
            ) from None


def opened(path: Path) -> ColumnBatches:
    """The file, to be closed. Raises NextclickError when it is cut off, damaged, or no file of columns."""
    try:
        return CONTAINERS[container_of(path)](path)
    except DAMAGED as error:
        raise NextclickError(
            f"{path} does not read as {container_of(path).capitalize()}: {error}",
            "It is cut off, damaged, or something else.",
            "Fetch the file again.",
        ) from None


# A column of the file, and the steps from it: names of fields, and LIST.
Place = tuple[str, tuple[str, ...]]


def place_of(name: str, columns: Sequence[str]) -> Place:
    """The column that a name or a path is of, and the steps from it.

    >>> place_of("events[].item.id", ["events"])
    ('events', ('[]', 'item', 'id'))
    """
    if name in columns:
        return name, ()
    root = max((one for one in columns if name.startswith((f"{one}.", f"{one}{LIST}"))), key=len)
    steps = name.removeprefix(root).replace(LIST, f".{LIST}").split(".")
    return root, tuple(step for step in steps if step)


def _check_lists(path: Path, places: Mapping[str, Place]) -> None:
    """Raises NextclickError where columns are of two lists, or of a list of lists."""
    lists = {(root, steps[: steps.index(LIST)]) for root, steps in places.values() if LIST in steps}
    if len(lists) > 1 or any(steps.count(LIST) > 1 for _, steps in places.values()):
        raise NextclickError(
            f"{path}: the columns are of two lists: {', '.join(name for name in places if LIST in name)}",
            "An event is an element of one list; which elements belong together is not known.",
            "Name columns of one list, and of the records around it.",
        )


def values_of(
    batch: pa.RecordBatch, places: Mapping[str, Place]
) -> tuple[dict[str, pa.Array], npt.NDArray[np.int64] | None]:
    """By name its values, and the record of each row in the batch; None where each record is one row."""
    found: dict[str, pa.Array] = {}
    within: dict[str, pa.Array] = {}
    records: pa.Array | None = None
    for name, (root, steps) in places.items():
        if LIST not in steps:
            found[name] = _field(batch.column(root), steps)
            continue
        at = steps.index(LIST)
        values = _field(batch.column(root), steps[:at])
        # `list_parent_indices` counts values that lie beneath a null list, `list_flatten` does not.
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        records = pa.array(np.repeat(np.arange(len(values)), lengths))
        within[name] = _field(pc.list_flatten(values), steps[at + 1 :])
    if records is None:
        return found, None
    return {name: values.take(records) for name, values in found.items()} | within, records.to_numpy()


def _field(values: pa.Array, steps: Sequence[str]) -> pa.Array:
    for step in steps:
        values = pc.struct_field(values, step)
    return values


def _chunk(rows: pd.DataFrame, before: int, records: npt.NDArray[np.int64] | None) -> Chunk:
    def line_of(row: int) -> tuple[int, bytes]:
        record = row if records is None else int(records[row])
        return before + record + 1, ",".join(str(value) for value in rows.iloc[row]).encode()

    return Chunk(rows, reasons(rows.index), line_of)


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
