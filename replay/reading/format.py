"""What an adapter is: a Format, which says how to recognise a file and how its columns become events.

Also the conversions of text columns that adapters share: numbers, times, reasons.

Tested by tests/unit/replay/datasets/ and tests/unit/replay/reading/test_repeats.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
# Without a named unit, smaller numbers are seconds. The suffix names a column of milliseconds.
LEAST_MS = 1e11
MILLISECONDS = "_ms"


@dataclass(frozen=True)
class Converted:
    """The events of one chunk in file order, one row for each row of the chunk.

    All three share the chunk's index. `broken` says why a row cannot be read, `left_out` why a
    readable row is not an event (a return, an unknown kind); "" where neither applies.
    """

    events: pd.DataFrame
    broken: pd.Series[str]
    left_out: pd.Series[str]


Convert = Callable[[pd.DataFrame], Converted]


class UnreadableLine(Exception):
    """A line that does not read as its format; the argument is the reason."""


@dataclass(frozen=True)
class Format:
    """One file format.

    delimiter       between fields; several characters only without quotes
    columns         the names in the header; without a header, the names given to the fields
    matches         whether a first line is of this format
    converter       makes, for one file, the function that converts its chunks in order
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
    converter: Callable[[], Convert]
    family: str = ""
    parse: Callable[[bytes], tuple[str, ...]] | None = None
    chunks: Callable[..., Iterator[Chunk]] | None = None
    quoted: bool = True
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    parquet: bool = False
    other_encoding: str | None = None
    time_shape: tuple[str, str] | None = None

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


class Repeats:
    """Finds rows that repeat an earlier row in `group` and `keys`, also across chunks.

    Rows with an equal `group` (the basket, the second) must be adjacent, so that only the last group
    has to be remembered.

    >>> repeats = Repeats("basket", "item")
    >>> repeats(pd.DataFrame({"basket": ["b", "b"], "item": ["i", "j"]})).tolist()
    [False, False]
    >>> repeats(pd.DataFrame({"basket": ["b"], "item": ["j"]})).tolist()
    [True]
    """

    def __init__(self, group: str, *keys: str) -> None:
        self._group = group
        self._keys = [group, *keys]
        self._last: pa.Table | None = None

    def __call__(self, rows: pd.DataFrame, compared: pd.Series[bool] | None = None) -> pd.Series[bool]:
        """Whether each row repeats an earlier one; only `compared` rows (default: all) are considered."""
        if compared is None:
            return pd.Series(self._repeated(rows), index=rows.index)
        repeats = pd.Series(False, index=rows.index)
        repeats[compared] = self._repeated(rows[compared])
        return repeats

    def _repeated(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        if rows.empty:
            return np.empty(0, bool)
        known = pa.table({name: pa.array(rows[name], from_pandas=True) for name in self._keys})
        remembered = 0
        if self._last is not None:
            remembered = len(self._last)
            known = pa.concat_tables([self._last, known], promote_options="permissive")
        groups = _codes(known.column(self._group))
        # Narrow down to rows that agree in some keys: few remain after the last and the first key.
        alike, places, codes = known, np.arange(len(known)), groups
        for name in reversed(self._keys[1:]):
            codes, _ = pd.factorize(codes * len(known) + _codes(alike.column(name)))
            among = (np.bincount(codes)[codes] > 1).nonzero()[0]
            alike, places, codes = alike.take(among), places[among], codes[among]
            if not len(places):
                break
        repeated = np.zeros(len(known), bool)
        repeated[places] = pd.Series(codes).duplicated()
        self._last = known.take(((groups == groups[-1]) & ~repeated).nonzero()[0])
        return repeated[remembered:]


class SeenRows:
    """Finds rows that repeat any earlier row, by a hash of their columns; takes 8 bytes a row."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)

    def __call__(self, rows: pd.DataFrame) -> pd.Series[bool]:
        """Whether each row repeats an earlier one."""
        hashes = pd.util.hash_pandas_object(rows, index=False).to_numpy()
        repeated = pd.Series(hashes).duplicated().to_numpy()
        if len(self._known):
            place = self._known.searchsorted(hashes).clip(max=len(self._known) - 1)
            repeated |= self._known[place] == hashes
        self._known = np.sort(np.concatenate([self._known, hashes[~repeated]]))
        return pd.Series(repeated, index=rows.index)


def _codes(values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A code below their count for each value; equal values have equal codes."""
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    found: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return found


def reasons(index: pd.Index[int], *checks: tuple[pd.Series[bool], str]) -> pd.Series[str]:
    """The first reason whose mask is true, by row; "" where none is.

    >>> index = pd.RangeIndex(2)
    >>> reasons(index, (pd.Series([False, True]), "no item"), (pd.Series([False, True]), "no time")).tolist()
    ['', 'no item']
    """
    result = pd.Series(pa.repeat(pa.scalar("", pa.large_string()), len(index)), index, "str")
    for mask, reason in reversed(checks):
        where = mask.to_numpy(bool)
        if where.any():
            result[where] = reason
    return result


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
        if name in events and (pc.max(pc.binary_length(texts_of(events[name]))).as_py() or 0) > longest:
            too_long = events[name].str.len() > longest
            checks.append((too_long.fillna(False), f"{name} is longer than {longest} characters"))
    return reasons(events.index, *checks)


def no_reason(found: pd.Series[str]) -> bool:
    """Whether all reasons are ""."""
    return not pc.max(pc.binary_length(texts_of(found))).as_py()


def texts_of(column: pd.Series[str]) -> pa.LargeStringArray:
    """A column of texts as an Arrow array; null where a text is missing."""
    found = pa.array(column, from_pandas=True)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    return found.cast(pa.large_string())


def null_if_empty(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts; null where a text is empty or missing."""
    return pc.if_else(pc.equal(texts, ""), None, texts)


def times_of(column: pd.Series[str], pattern: str) -> pd.Series[int]:
    """Epoch milliseconds of texts that follow strptime's `pattern`, in UTC; NO_TIME for other texts.

    >>> times_of(pd.Series(["1970-01-02", "soon"]), "%Y-%m-%d").tolist()
    [86400000, -1]
    """
    # Many rows of a log have the same time: convert each distinct text once.
    texts = texts_of(column).dictionary_encode()
    moments = pd.to_datetime(texts.dictionary.to_pandas(), format=pattern, utc=True, errors="coerce")
    # A missing text has the index -1.
    times_ms = np.append(epoch_ms(moments).to_numpy(), NO_TIME)
    places = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)
    return pd.Series(times_ms[places], column.index)


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
    return values.where(np.isfinite(values))


def whole_ms(times_ms: pd.Series[float]) -> pd.Series[int]:
    """Milliseconds rounded to whole numbers; NO_TIME outside the range of event times."""
    known = times_ms.between(0, MAX_EVENT_TIME_MS)
    return times_ms.where(known, NO_TIME).round().astype("int64")


def epoch_ms(moments: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    """Epoch milliseconds of UTC timestamps; NO_TIME where one is missing."""
    milliseconds = moments.to_numpy("datetime64[ms]")
    found = np.where(np.isnat(milliseconds), NO_TIME, milliseconds.astype(np.int64))
    return pd.Series(found, index=moments.index)


def text_or_none(column: pd.Series[str]) -> pd.Series[str]:
    """The texts; None where a text is empty."""
    return pd.Series(null_if_empty(texts_of(column)), column.index, "str", column.name)
