"""The format of a file whose columns a mapping names: by name, by number or by path.

What the mapping leaves open is seen in the file: how it holds its columns, and the unit of its times.

Tested by tests/unit/replay/mappings/test_mapped_files.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from model.errors import NextclickError
from replay.mappings.event_times import check_unit, said_times
from replay.mappings.named_columns import NamedColumns, columns_of, fields_of
from replay.mappings.role_columns import MS, NAIVE_MS, NO_ITEM, convert
from replay.reading.format import MILLISECONDS, Convert, Converted, Format
from replay.reading.time_evidence import UnclearTimes, resolve
from replay.reading.times import TimeUnit
from stream.log_mapping import RECORD_COLUMNS, LogMapping


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
    has_header = partial(_has_header, mapping=mapping)
    found = columns_of(path, mapping.columns, mapping.files, name, has_header=has_header)
    held_as = _held_as(mapping, found)
    return replace(
        found.form,
        converter=_converter(mapping, found, held_as),
        time_column=None if mapping.time_unit or held_as else found.names["time"],
    )


def formats_of(
    paths: Sequence[Path], mapping: LogMapping, *, may_lack: bool
) -> tuple[list[tuple[Path, Format]], list[Path]]:
    """The files of a log with their formats, and those among several that have not the mapping's columns.

    Raises NextclickError as `format_of` does where none has them, or one has not that is to have them.
    """
    found, errors = [], []
    for path in paths:
        try:
            found.append((path, format_of(path, mapping)))
        except NextclickError as error:
            errors.append((path, error))
    if errors and not (found and may_lack):
        raise errors[0][1]
    return found, [path for path, _ in errors]


def _held_as(mapping: LogMapping, found: NamedColumns) -> str:
    """How the file's types, or the name of the times, say that they are held; "" where nothing says it."""
    kind = found.types.get(found.names["time"])
    if kind is not None and pa.types.is_timestamp(kind):
        return MS if kind.tz else NAIVE_MS
    if kind is not None and pa.types.is_date(kind):
        return NAIVE_MS
    in_ms = str(mapping.columns["time"]).endswith(MILLISECONDS) and not mapping.time_unit
    return MS if in_ms else ""


def _has_header(lines: list[str], delimiter: str, mapping: LogMapping) -> bool:
    """Whether the first line names columns, of a mapping by numbers: it has no time, and the others have."""
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


def _converter(mapping: LogMapping, found: NamedColumns, held_as: str) -> Callable[..., Convert]:
    def convert_with(unit: TimeUnit | None = None) -> Convert:
        def convert_file(chunk: pd.DataFrame) -> Converted:
            return convert(found.by_role(chunk), mapping, held_as=held_as, unit=unit)

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
