"""Values as exports write them: words for nothing, whole numbers as floats, prices.

Tested by tests/cases/test_values.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from replay.reading.format import lengths_of, null_if_empty, number, texts_of

# What exports write where an optional value is missing.
MISSING = frozenset({"nan", "null", "none", "na", "n/a", "-", "\\n", "nat", "<na>"})
LONGEST_MISSING = max(map(len, MISSING))
# The same in every case: to look a text up is quicker than to change its case.
MISSING_TEXTS = pa.array(
    sorted(
        {"".join(letters) for word in MISSING for letters in product(*zip(word, word.upper(), strict=True))}
    ),
    pa.large_string(),
)
# What a regular expression takes for blanks, and Python's str.strip among ASCII.
BLANKS = (b" ", b"\t", b"\n", b"\f", b"\r")
ASCII_BLANKS = (*BLANKS, b"\v", b"\x1c", b"\x1d", b"\x1e", b"\x1f")


def price_of(column: pd.Series[str]) -> tuple[pd.Series[float], pd.Series[bool]]:
    """Prices, NaN where one is missing, and whether a text is neither a price nor a word for none.

    >>> [values.tolist() for values in price_of(pd.Series(["1.5", "NULL", "", "much"]))]
    [[1.5, nan, nan, nan], [False, False, False, True]]
    """
    price = number(column)
    absent = price.isna().to_numpy()
    if absent.any():
        texts = texts_of(column)
        absent = absent & (lengths_of(texts) > 0) & ~_missing(texts)
    return price, pd.Series(absent, column.index, name=column.name)


def given_text(column: pd.Series[str]) -> pd.Series[str]:
    """The texts of an optional column; None where a text is empty or a word for a missing value."""
    texts = texts_of(column)
    if not lengths_of(texts).any():
        return pd.Series(pa.nulls(len(texts), pa.large_string()), column.index, "str", column.name)
    if (missing := _missing(texts)).any():
        texts = pc.if_else(missing, None, texts)
    return pd.Series(null_if_empty(texts), column.index, "str", column.name)


def one_of(column: pd.Series[str], values: Sequence[str]) -> pd.Series[bool]:
    """Whether each text is one of the values.

    >>> one_of(pd.Series(["view", "like"]), ("view", "cart")).tolist()
    [True, False]
    """
    found = pc.is_in(texts_of(column), pa.array(values, pa.large_string()))
    return pd.Series(found.to_numpy(zero_copy_only=False), column.index, name=column.name)


def ids_of(column: pd.Series[str]) -> pd.Series[str]:
    """Ids; a whole number that an export wrote as 4.0, or with blanks around it, is 4.

    >>> ids_of(pd.Series(["4", "4.0", " 4", "v4.0"])).tolist()
    ['4', '4', '4', 'v4.0']
    """
    texts = texts_of(column)
    content = content_of(texts)
    if _least(content) > ord(".") or not (b".0" in content or any(blank in content for blank in BLANKS)):
        return column if column.dtype == "str" else pd.Series(texts, column.index, "str", column.name)
    texts = pc.replace_substring_regex(texts, r"^\s*(-?\d+)(\.0+)?\s*$", r"\1")
    return pd.Series(texts, column.index, "str", column.name)


def content_of(texts: pa.LargeStringArray) -> bytes:
    """The bytes of all texts, one after another."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    ends = np.frombuffer(offsets, np.int64)[texts.offset :]
    return bytes(memoryview(data)[ends[0] : ends[len(texts)]])


def _least(content: bytes) -> int:
    """The smallest byte."""
    return int(np.frombuffer(content, np.uint8).min(initial=255))


def _missing(texts: pa.LargeStringArray) -> npt.NDArray[np.bool_]:
    """Whether each text is a word for a missing value, in any case, with or without blanks around it."""
    content = content_of(texts)
    if content.isdigit():
        return np.zeros(len(texts), bool)
    if not content.isascii() or (
        _least(content) <= ord(" ") and any(blank in content for blank in ASCII_BLANKS)
    ):
        texts = pc.utf8_trim_whitespace(texts)
    found = lengths_of(texts) <= LONGEST_MISSING
    if found.any():
        found[found] = pc.is_in(texts.filter(pa.array(found)), MISSING_TEXTS).to_numpy(zero_copy_only=False)
    return found
