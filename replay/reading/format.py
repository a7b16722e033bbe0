"""What an adapter is: a Format, which says how to recognise a file and how its columns become events.

Also the conversions of text columns that adapters share: numbers, times, reasons.

Tested by tests/unit/replay/datasets/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from replay.reading.fixed_times import UNREAD, fixed_ms
from stream.events import MAX_EVENT_TIME_MS

# The most characters that the schema of the topic allows in the text columns of an event frame.
LONGEST = {
    "session_id": 256,
    "item_id": 256,
    "user_id": 256,
    "brand": 8192,
    "category": 8192,
    "title": 8192,
}
NO_TIME = -1
# The suffix that names a column of milliseconds.
MILLISECONDS = "_ms"


@dataclass(frozen=True)
class Converted:
    """The events of one chunk in file order, one row for each row of the chunk.

    All three share the chunk's index. `broken` says why a row cannot be read, `left_out` why a
    readable row is not an event (a return, an unknown kind); "" where neither applies. `float_ids`
    counts the ids that were written as floats, and are integers here.
    """

    events: pd.DataFrame
    broken: pd.Series[str]
    left_out: pd.Series[str]
    float_ids: int = 0


Convert = Callable[[pd.DataFrame], Converted]


class UnreadableLine(Exception):
    """A line that does not read as its format; the argument is the reason."""


@dataclass(frozen=True)
class Format:
    """One file format.

    delimiter       between fields; several characters only without quotes
    columns         the names in the header; without a header, the names given to the fields
    matches         whether a first line is of this format
    converter       makes, for one file, the function that converts its chunks in order; with the
                    TimeUnit of the file where `time_column` names a column
    time_column     the column whose unit is to be seen in the file
    family          metadata joins the events of its family
    parse           splits a line that is not delimited into `columns`; raises UnreadableLine
    chunks          reads the file instead, where a record is several rows, or no line
    quoted          whether values may be quoted
    aliases         the names that a column may have in a header, first choice first
    optional        columns that may be absent; they are "" then
    parquet         whether it is a Parquet file, with the columns by name
    other_encoding  the encoding of values that are not UTF-8
    time_shape      the column of times and the shape of its texts, if these sort as the times do;
                    a digit in the shape allows digits up to itself

    >>> Format("tsv", "\\t", ("s", "i"), True, "s\\ti".__eq__, lambda: lambda chunk: chunk).shape
    's\\ti'
    """

    name: str
    delimiter: str
    columns: tuple[str, ...]
    header: bool
    matches: Callable[[str], bool]
    converter: Callable[..., Convert]
    family: str = ""
    parse: Callable[[bytes], tuple[str, ...]] | None = None
    chunks: Callable[..., Iterator[Chunk]] | None = None
    quoted: bool = True
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    parquet: bool = False
    other_encoding: str | None = None
    time_shape: tuple[str, str] | None = None
    time_column: str | None = None

    @property
    def shape(self) -> str:
        """How a line of this format looks, for messages."""
        names = self.delimiter.join(self.aliases.get(name, (name,))[0] for name in self.columns)
        if self.parquet:
            return f"Parquet columns {names}"
        return f"JSON objects with {names}" if self.parse or self.chunks else names


@dataclass(frozen=True)
class Chunk:
    """Rows of one file as text columns, in order.

    `broken` says why a row could not be read as text; "" where it could. `line_of(row)` returns the
    row's line number in the file, from 1, and the line.
    """

    rows: pd.DataFrame
    broken: pd.Series[str]
    line_of: Callable[[int], tuple[int, bytes]]


def reasons(index: pd.Index[int], *checks: tuple[pd.Series[bool], str]) -> pd.Series[str]:
    """The first reason whose mask is true, by row; "" where none is.

    >>> index = pd.RangeIndex(2)
    >>> reasons(index, (pd.Series([False, True]), "no item"), (pd.Series([False, True]), "no time")).tolist()
    ['', 'no item']
    """
    result = same_text("", index)
    for mask, reason in reversed(checks):
        where = mask.to_numpy(bool)
        if where.any():
            result[where] = reason
    return result


def same_text(text: str, index: pd.Index[int]) -> pd.Series[str]:
    """A column that holds the same text in every row.

    >>> same_text("view", pd.RangeIndex(2)).tolist()
    ['view', 'view']
    """
    return pd.Series(_repeated(text, len(index)), index, "str")


# Chunks of a file have about as many rows, and several such columns.
@lru_cache(maxsize=8)
def _repeated(text: str, count: int) -> pa.LargeStringArray:
    once = text.encode()
    ends = np.arange(count + 1, dtype=np.int64) * len(once)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(once * count))


def lengths_of(column: pd.Series[str] | pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """The bytes of each text; 0 for a missing one.

    >>> lengths_of(pd.Series(["ä", "", None], dtype="str")).tolist()
    [2, 0, 0]
    """
    texts = texts_of(column) if isinstance(column, pd.Series) else column
    _, offsets, _ = texts.buffers()
    if offsets is None or not len(texts):
        return np.zeros(len(texts), np.int64)
    lengths = np.diff(np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1])
    return (
        np.where(texts.is_valid().to_numpy(zero_copy_only=False), lengths, 0) if texts.null_count else lengths
    )


def is_empty(column: pd.Series[str]) -> pd.Series[bool]:
    """Whether each text is empty or missing."""
    return pd.Series(lengths_of(column) == 0, column.index, name=column.name)


def beyond_the_schema(events: pd.DataFrame) -> pd.Series[str]:
    """Why the schema of the topic does not allow a row as an event; "" where it does.

    Metadata rows have no time.
    """
    checks = []
    if "event_time_ms" in events:
        times = events["event_time_ms"].to_numpy()
        outside = pd.Series((times < 0) | (times > MAX_EVENT_TIME_MS), events.index)
        checks.append((outside, "event time is outside 1970 to 2100"))
    for name, longest in LONGEST.items():
        # Bytes are quicker to count, and never fewer than characters.
        if name in events and lengths_of(events[name]).max(initial=0) > longest:
            too_long = events[name].str.len() > longest
            checks.append((too_long.fillna(False), f"{name} is longer than {longest} characters"))
    return reasons(events.index, *checks)


def no_reason(found: pd.Series[str]) -> bool:
    """Whether all reasons are ""."""
    return not lengths_of(found).any()


def texts_of(column: pd.Series[str]) -> pa.LargeStringArray:
    """A column of texts as an Arrow array; null where a text is missing."""
    found = pa.array(column, from_pandas=True)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    return found.cast(pa.large_string())


def null_if_empty(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts; null where a text is empty or missing."""
    empty = lengths_of(texts) == 0
    return pc.if_else(empty, None, texts) if empty.any() else texts


def times_of(column: pd.Series[str], pattern: str) -> pd.Series[int]:
    """Epoch milliseconds of texts that follow strptime's `pattern`, in UTC; NO_TIME for other texts.

    >>> times_of(pd.Series(["1970-01-02", "soon"]), "%Y-%m-%d").tolist()
    [86400000, -1]
    """
    texts = texts_of(column)
    times_ms = fixed_ms(texts, pattern)
    if len(others := (times_ms == UNREAD).nonzero()[0]):
        # Many rows of a log have the same time: convert each distinct text once.
        encoded = texts.take(others).dictionary_encode()
        moments = pd.to_datetime(encoded.dictionary.to_pandas(), format=pattern, utc=True, errors="coerce")
        # A missing text has the index -1.
        found = np.append(epoch_ms(moments).to_numpy(), NO_TIME)
        times_ms[others] = found[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
    return pd.Series(times_ms, column.index)


def number(column: pd.Series[str]) -> pd.Series[float]:
    """Texts as finite numbers; NaN where a text is not one.

    >>> number(pd.Series(["1.5", "", "many"])).tolist()
    [1.5, nan, nan]
    """
    texts = texts_of(column)
    try:
        cast = pc.cast(null_if_empty(texts), pa.float64())
        values = pd.Series(cast.to_numpy(zero_copy_only=False), index=column.index, name=column.name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Some text is not a number, or has blanks around it.
        values = pd.to_numeric(column, errors="coerce").astype("float64")
    return values if (finite := np.isfinite(values)).all() else values.where(finite)


def whole_ms(times_ms: pd.Series[float]) -> pd.Series[int]:
    """Milliseconds rounded to whole numbers; NO_TIME outside the range of event times."""
    times = times_ms.to_numpy()
    known = (times >= 0) & (times <= MAX_EVENT_TIME_MS)
    if not known.all():
        times = np.where(known, times, NO_TIME)
    return pd.Series(np.rint(times).astype(np.int64), times_ms.index, name=times_ms.name)


def epoch_ms(moments: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    """Epoch milliseconds of UTC timestamps; NO_TIME where one is missing."""
    milliseconds = moments.to_numpy("datetime64[ms]")
    found = np.where(np.isnat(milliseconds), NO_TIME, milliseconds.astype(np.int64))
    return pd.Series(found, index=moments.index)


def text_or_none(column: pd.Series[str]) -> pd.Series[str]:
    """The texts; None where a text is empty."""
    return pd.Series(null_if_empty(texts_of(column)), column.index, "str", column.name)
