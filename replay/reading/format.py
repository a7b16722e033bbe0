"""What an adapter is: how to know a file's format, and how its columns become events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# Numbers below this are seconds where a log names no unit; what ends the name of a column of milliseconds.
LEAST_MS = 1e11
MILLISECONDS = "_ms"


@dataclass(frozen=True)
class Converted:
    """Events of one chunk, in file order, with what was not taken.

    All three share the chunk's index. `broken` says why a row cannot be read ("" where it
    can), `left_out` why a readable row is no event (a return, an unknown kind).
    """

    events: pd.DataFrame
    broken: pd.Series[str]
    left_out: pd.Series[str]


Convert = Callable[[pd.DataFrame], Converted]


class UnreadableLine(Exception):
    """A line that does not read as its format; its argument is the reason."""


@dataclass(frozen=True)
class Format:
    """One file format.

    `columns` are the header's names, or, where `header` is False, the names given to its
    fields; `matches` looks at the first line. `converter` makes a function for one file,
    which is given the file's chunks of text columns in order.

    A format is read as delimited fields (a delimiter of several characters only where values
    are not `quoted`), unless it has `parse`: a line → the texts of `columns`, raising
    UnreadableLine. `aliases` are the names that a column may have in a header, first choice
    first; those that are `optional` may be absent, and are "" then. Values that are not UTF-8
    are taken in `other_encoding` where there is one. A `parquet` file has the
    columns by name. Metadata joins events of the same `family`. Where the texts of the times sort as
    the times do, `time_shape` names their column and their shape: a digit stands for one that is no greater.
    """

    name: str
    delimiter: str
    columns: tuple[str, ...]
    header: bool
    matches: Callable[[str], bool]
    converter: Callable[[], Convert]
    family: str = ""
    parse: Callable[[bytes], tuple[str, ...]] | None = None
    quoted: bool = True
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    parquet: bool = False
    other_encoding: str | None = None
    time_shape: tuple[str, str] | None = None

    @property
    def shape(self) -> str:
        """What a line of it looks like, for people."""
        names = self.delimiter.join(self.aliases.get(name, (name,))[0] for name in self.columns)
        if self.parquet:
            return f"Parquet columns {names}"
        return f"JSON objects with {names}" if self.parse else names


@dataclass(frozen=True)
class Chunk:
    """Rows of one file as text columns, in order.

    `broken` says why a row could not be read as text, "" where it could; `line_of` gives a row's
    line in the file, from 1, and what stands there.
    """

    rows: pd.DataFrame
    broken: pd.Series[str]
    line_of: Callable[[int], tuple[int, bytes]]


class Repeats:
    """Finds rows whose `keys` stand before, across the borders of chunks.

    Rows of equal `group` (a key: the basket, the second) are expected to follow one another,
    so that only the last group has to be remembered.
    """

    def __init__(self, group: str, *keys: str) -> None:
        self._group = group
        self._keys = [group, *keys]
        self._last: pa.Table | None = None

    def __call__(self, rows: pd.DataFrame, looked_at: pd.Series[bool] | None = None) -> pd.Series[bool]:
        """Whether each row repeats an earlier one; only `looked_at` rows (all) repeat or are repeated."""
        if looked_at is None:
            return pd.Series(self._repeated(rows), index=rows.index)
        repeats = pd.Series(False, index=rows.index)
        repeats[looked_at] = self._repeated(rows[looked_at])
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
        # Which rows are alike in some keys: after the first and the last one few.
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


class Seen:
    """Finds rows that stand anywhere before, in 8 bytes a row: they are known by a hash of their columns."""

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
    """A number below their count for each value, equal where they are."""
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    found: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return found


def reasons(index: pd.Index[int], *checks: tuple[pd.Series[bool], str]) -> pd.Series[str]:
    """The first reason whose mask is true, by row; "" where none is."""
    result = pd.Series(pa.repeat(pa.scalar("", pa.large_string()), len(index)), index, "str")
    for mask, reason in reversed(checks):
        where = mask.to_numpy(bool)
        if where.any():
            result[where] = reason
    return result


def beyond_the_schema(events: pd.DataFrame) -> pd.Series[str]:
    """Why a row would be refused as an event by every reader of the topic; "" where it would not.

    Metadata have no time.
    """
    checks = []
    if "event_time_ms" in events:
        times = events["event_time_ms"].to_numpy()
        outside = pd.Series((times < 0) | (times > MAX_EVENT_TIME_MS), events.index)
        checks.append((outside, "event time is outside 1970 to 2100"))
    for name, longest in LONGEST.items():
        # No text has more characters than bytes.
        if name in events and (pc.max(pc.binary_length(texts_of(events[name]))).as_py() or 0) > longest:
            too_long = events[name].str.len() > longest
            checks.append((too_long.fillna(False), f"{name} is longer than {longest} characters"))
    return reasons(events.index, *checks)


def no_reason(found: pd.Series[str]) -> bool:
    """Whether all of the reasons are ""."""
    return not pc.max(pc.binary_length(texts_of(found))).as_py()


def texts_of(column: pd.Series[str]) -> pa.LargeStringArray:
    """A column of texts, null where one is missing."""
    found = pa.array(column, from_pandas=True)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    return found.cast(pa.large_string())


def null_if_empty(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts, null where one is empty or missing."""
    return pc.if_else(pc.equal(texts, ""), None, texts)


def times_of(column: pd.Series[str], pattern: str) -> pd.Series[int]:
    """Texts of the `pattern` of strptime, in UTC → epoch milliseconds; NO_TIME where one is of another."""
    # Neighbours in a log often have the same time.
    texts = texts_of(column).dictionary_encode()
    moments = pd.to_datetime(texts.dictionary.to_pandas(), format=pattern, utc=True, errors="coerce")
    # A missing text has the place -1.
    times_ms = np.append(epoch_ms(moments).to_numpy(), NO_TIME)
    places = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)
    return pd.Series(times_ms[places], column.index)


def number(column: pd.Series[str]) -> pd.Series[float]:
    """Text → finite number, NaN where it is none."""
    texts = texts_of(column)
    try:
        cast = pc.cast(null_if_empty(texts), pa.float64())
        values = pd.Series(cast.to_numpy(zero_copy_only=False), index=column.index, name=column.name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # A text that is no number, or has blanks around it.
        values = pd.to_numeric(column, errors="coerce").astype("float64")
    return values.where(np.isfinite(values))


def whole_ms(times_ms: pd.Series[float]) -> pd.Series[int]:
    """Milliseconds as numbers → as whole numbers; NO_TIME where outside the range of event times."""
    known = times_ms.between(0, MAX_EVENT_TIME_MS)
    return times_ms.where(known, NO_TIME).round().astype("int64")


def epoch_ms(moments: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    """UTC timestamps → epoch milliseconds; NO_TIME where there is none."""
    milliseconds = moments.to_numpy("datetime64[ms]")
    found = np.where(np.isnat(milliseconds), NO_TIME, milliseconds.astype(np.int64))
    return pd.Series(found, index=moments.index)


def text_or_none(column: pd.Series[str]) -> pd.Series[str]:
    """Empty text → None."""
    return pd.Series(null_if_empty(texts_of(column)), column.index, "str", column.name)
