"""The unit of a file's times, seen in a sample: its first lines, and more while these do not show it.

Tested by tests/cases/test_times.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import cast

import pandas as pd
import pyarrow as pa

from replay.reading.account import FileAccount
from replay.reading.containers.columnar import column_types, columnar_chunks
from replay.reading.delimited import open_columns
from replay.reading.format import MILLISECONDS, Chunk, Convert, Format
from replay.reading.lines import line_chunks
from replay.reading.packed_files import CUT_OFF, WholeLines, open_file
from replay.reading.time_evidence import UnclearTimes, resolve
from replay.reading.times import TimeUnit

# The sample that shows the unit of nearly every file, and the most of a file that is looked at.
SAMPLE_BYTES, MOST_BYTES = 1 << 17, 256 << 20
# Texts of the first lines that are looked at again beside later ones.
KEPT = 1000


def converter_of(path: Path, form: Format, seen: dict[str, TimeUnit]) -> Convert:
    """The conversion of a file; `seen` keeps the unit of its times, where it is to be seen in the file."""
    if form.time_column is None:
        return form.converter()
    if str(path) not in seen:
        seen[str(path)] = seen_unit(path, form)
    return form.converter(seen[str(path)])


def seen_unit(path: Path, form: Format) -> TimeUnit:
    """The unit of the format's `time_column` in a file. Raises UnclearTimes when the file does not show it.

    >>> path = Path("/tmp/nextclick-doctest.csv")
    >>> _ = path.write_text("s,at\\n1,1/2/2023\\n1,14/2/2023\\n")
    >>> form = Format("own", ",", ("s", "at"), True, bool, list, time_column="at")
    >>> seen_unit(path, form).unit
    '%d/%m/%Y'
    """
    assert form.time_column is not None
    name = form.aliases.get(form.time_column, (form.time_column,))[0]
    if form.parquet and (unit := _unit_of_type(path, form)) is not None:
        return unit
    first, unclear = pd.Series(dtype="str"), None
    for sample in _samples(path, form):
        known = pd.concat([first, sample], ignore_index=True)
        # Some, spread over the sample, show most units; all of them which part is the month.
        for texts in (known.iloc[:: max(1, len(known) // KEPT)], known):
            try:
                if len(texts):
                    return resolve(texts, name)
            except UnclearTimes as error:
                if not error.more:
                    raise
                unclear = error
        first = known.drop_duplicates().iloc[:KEPT]
    if unclear is not None:
        raise unclear
    return TimeUnit("iso", evidence=f"{name}: the file has no times")


def _unit_of_type(path: Path, form: Format) -> TimeUnit | None:
    """The unit that the types of a file of columns, or the name of its column, say."""
    types = column_types(path)
    known = form.aliases.get(str(form.time_column), (str(form.time_column),))
    name = next(name for name in known if name in types)
    kind = types[name]
    if pa.types.is_timestamp(kind):
        return TimeUnit("ms", evidence=f"{name}: {kind} of the file")
    if name.endswith(MILLISECONDS) and pa.types.is_integer(kind):
        return TimeUnit("ms", evidence=f"{name}: milliseconds, by its name")
    return None


def _samples(path: Path, form: Format) -> Iterator[pd.Series[str]]:
    """The texts of the time column, a part of the file after another, empty ones left out."""
    column = str(form.time_column)
    if form.parquet:
        yield from (_given(chunk.rows[column]) for chunk in columnar_chunks(path, form, FileAccount()))
        return
    with open_file(path) as file:
        lines = WholeLines(file)
        try:
            if form.parse or form.chunks:
                chunks = _chunks(form, lines)
                columns = (chunk.rows[column] for chunk in chunks)
            else:
                batches = open_columns(path, form, lines, [column], block_bytes=SAMPLE_BYTES)
                columns = (_texts(batch.column(0)) for batch in batches)
            for number, texts in zip(count(1), columns, strict=False):
                yield _given(texts)
                if lines.bytes > MOST_BYTES or number * SAMPLE_BYTES > MOST_BYTES:
                    return
        except (pa.ArrowInvalid, pa.ArrowKeyError, *CUT_OFF):
            # Reading the events reports what is wrong.
            return


def _chunks(form: Format, lines: WholeLines) -> Iterator[Chunk]:
    if form.chunks:
        return form.chunks(lines, FileAccount(), SAMPLE_BYTES)
    assert form.parse is not None
    return line_chunks(form, form.parse, lines, FileAccount(), block_bytes=SAMPLE_BYTES)


def _texts(values: pa.LargeStringArray) -> pd.Series[str]:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        found = [value.decode("utf-8", "replace") for value in values.cast(pa.large_binary()).to_pylist()]
        values = pa.array(found, pa.large_string())
    return cast("pd.Series[str]", pd.Series(values, dtype="str"))


def _given(texts: pd.Series[str]) -> pd.Series[str]:
    return texts[texts != ""].reset_index(drop=True)
