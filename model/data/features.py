"""An event's other fields as networks read them: categories as codes, prices as numbers.

A missing value, or a value that training has not seen, is -1; a missing or invalid price is NaN. An
event's time is itself, in milliseconds, -1 missing.
Features are made from the training data for the columns that a network declares, and saved with its
vocabulary. Prices are not scaled here: `price_scale` tells the network how to scale their logarithms.

Shapes: N events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

CATEGORICAL = ("brand", "category", "user_id", "title")
PRICE = "price"
# Of an event, as the session rule reads it: it needs no codes and no scale.
TIME = "event_time_ms"
SMALLEST_DEVIATION = 1e-6
Arrays = Mapping[str, npt.NDArray[Any]]


class Features:
    """The values of each categorical column, by code, and mean and deviation of log(1 + price).

    `price_scale` is None for a network that does not read prices.

    >>> Features({"brand": ["acme", "zeta"]}).encode("brand", ["zeta", "new"]).tolist()
    [1, -1]
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[str]] | None = None,
        price_scale: tuple[float, float] | None = None,
    ) -> None:
        self.values = {name: list(known) for name, known in (values or {}).items()}
        self.price_scale = price_scale

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that can be encoded."""
        return (*self.values, *(() if self.price_scale is None else (PRICE,)))

    def size(self, column: str) -> int:
        """Returns the number of known values of a categorical column; 0 for an absent column."""
        return len(self.values.get(column, ()))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, columns: Sequence[str]) -> Features:
        """Collect an event frame's values, by frequency; a column that the frame lacks has no values."""
        everything = {
            name: [str(value) for value in pd.unique(frame[name].dropna()) if value != ""]
            if name in frame
            else []
            for name in columns
            if name in CATEGORICAL
        }
        whole = cls(everything, (0.0, 1.0) if PRICE in columns else None)
        return whole.restricted(whole.of_frame(frame))

    def restricted(self, columns: Arrays) -> Features:
        """Keep the values that occur in these encoded columns, by frequency; rescale prices by them too."""
        values = {}
        for name, known in self.values.items():
            codes = columns[name]
            counts = np.bincount(codes[codes >= 0], minlength=len(known))
            by_frequency = np.argsort(-counts, kind="stable")
            values[name] = [known[code] for code in by_frequency[: int((counts > 0).sum())]]
        return Features(values, None if self.price_scale is None else _scale(columns[PRICE]))

    def grown_from(self, earlier: Features) -> Features:
        """Returns the values of `earlier`, then the new values; prices keep the scale of `earlier`."""
        values = {}
        for name, known in self.values.items():
            before = earlier.values.get(name, [])
            old = set(before)
            values[name] = [*before, *(value for value in known if value not in old)]
        return Features(values, self.price_scale and (earlier.price_scale or self.price_scale))

    def renames_of(self, before: Features) -> dict[str, npt.NDArray[np.int64]]:
        """Returns, for each categorical column of `before`, the code here of each code there, or -1."""
        return {name: self.codes_of(name, known) for name, known in before.values.items()}

    def codes_of(self, column: str, values: Iterable[Any]) -> npt.NDArray[np.int64]:
        """Returns the codes of a categorical column's values; all -1 for an absent column."""
        codes = self._codes.get(column, {})
        return np.fromiter((codes.get(value, -1) for value in values), np.int64)

    def encode(self, column: str, values: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Encode a column's raw values. Returns codes or times, int64, or prices, float32."""
        if column == TIME:
            return np.fromiter((-1 if value is None else int(value) for value in values), np.int64)
        if column == PRICE:
            prices = np.asarray(values, np.float64)
            is_price = np.abs(prices) <= np.finfo(np.float32).max
            return np.where(is_price, prices, np.nan).astype(np.float32)
        if len(values) > 1000 and column in self.values:
            raw = pd.Index(np.asarray(values, object))
            return np.asarray(self._pandas_indices[column].get_indexer(raw), np.int64)
        return self.codes_of(column, values)

    def of_frame(self, frame: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
        """Encode all columns of an event frame; in a column that the frame lacks all values are missing."""
        return {name: self.encode(name, raw_column(frame, name)) for name in self.columns}

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        return {name: {v: code for code, v in enumerate(known)} for name, known in self.values.items()}

    @cached_property
    def _pandas_indices(self) -> dict[str, pd.Index[Any]]:
        return {name: pd.Index(np.array([*known, None], object)[:-1]) for name, known in self.values.items()}

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        return {"values": self.values, "price_scale": self.price_scale}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Features:
        """Read the result of `as_dict`. Raises KeyError or TypeError on anything else."""
        scale = data["price_scale"]
        return cls(data["values"], None if scale is None else (float(scale[0]), float(scale[1])))


def raw_column(frame: pd.DataFrame, name: str) -> npt.NDArray[Any]:
    """Returns a column's raw values, N; None where a value, or the whole column, is missing."""
    return frame[name].to_numpy(object, na_value=None) if name in frame else np.full(len(frame), None, object)


def _scale(prices_N: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation of log(1 + price); 0 without prices, 1 where they do not differ."""
    known = prices_N[~np.isnan(prices_N)].astype(np.float64)
    if not len(known):
        return 0.0, 1.0
    logs = np.log1p(np.maximum(known, 0))
    # Rounding gives equal prices a tiny deviation.
    deviation = float(logs.std())
    return float(logs.mean()), deviation if deviation > SMALLEST_DEVIATION else 1.0
