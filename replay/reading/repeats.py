"""Rows that repeat an earlier row of the file: within a group of adjacent rows, or anywhere.

Tested by tests/unit/replay/reading/test_repeats.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


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
        found = pa.table({name: pa.array(rows[name], from_pandas=True) for name in self._keys})
        last, remembered = self._last, 0 if self._last is None else len(self._last)
        count = remembered + len(rows)

        def column(name: str) -> pa.ChunkedArray:
            new = found.select([name])
            return (new if last is None else _joined(last.select([name]), new)).column(name)

        groups = _codes(column(self._group))
        # Narrow down to rows that agree in some keys: few remain after the last and the first key.
        places, codes = np.arange(count), groups
        for name in reversed(self._keys[1:]):
            values = column(name) if len(places) == count else column(name).take(places)
            codes, _ = pd.factorize(codes * count + _codes(values))
            among = (np.bincount(codes)[codes] > 1).nonzero()[0]
            places, codes = places[among], codes[among]
            if not len(places):
                break
        repeated = np.zeros(count, bool)
        repeated[places] = pd.Series(codes).duplicated()
        kept = ((groups == groups[-1]) & ~repeated).nonzero()[0]
        found = found.take(kept[kept >= remembered] - remembered)
        earlier = kept[kept < remembered]
        self._last = found if last is None or not len(earlier) else _joined(last.take(earlier), found)
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


def _joined(first: pa.Table, second: pa.Table) -> pa.Table:
    return pa.concat_tables([first, second], promote_options="permissive")


def _codes(values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A code below their count for each value; equal values have equal codes."""
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    found: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return found
