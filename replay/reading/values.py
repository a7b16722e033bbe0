"""Values as exports write them: words for nothing, whole numbers as floats, numbers of any unit of time.

Tested by tests/cases/test_values.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from replay.reading.format import LEAST_MS, number, text_or_none, texts_of

# Larger numbers have a finer unit; seconds reach beyond 2100, milliseconds back to 1973.
LEAST_US, LEAST_NS = 1e14, 1e17
# What exports write where an optional value is missing.
MISSING = frozenset({"nan", "null", "none", "na", "n/a", "-", "\\n", "nat", "<na>"})


def in_ms(numbers: pd.Series[float]) -> pd.Series[float]:
    """Milliseconds of numbers since 1970, whose size gives the unit: s, ms, µs or ns.

    >>> in_ms(pd.Series([1.4e9, 1.4e12, 1.4e15, 1.4e18])).tolist()
    [1400000000000.0, 1400000000000.0, 1400000000000.0, 1400000000000.0]
    """
    scale = np.select([numbers < LEAST_MS, numbers < LEAST_US, numbers < LEAST_NS], [1e3, 1.0, 1e-3], 1e-6)
    return numbers * scale


def price_of(column: pd.Series[str]) -> tuple[pd.Series[float], pd.Series[bool]]:
    """Prices, NaN where one is missing, and whether a text is neither a price nor a word for none.

    >>> [values.tolist() for values in price_of(pd.Series(["1.5", "NULL", "", "much"]))]
    [[1.5, nan, nan, nan], [False, False, False, True]]
    """
    price = number(column)
    absent = price.isna() & (column != "")
    if absent.any():
        absent &= ~column.str.strip().str.lower().isin(MISSING)
    return price, absent


def given_text(column: pd.Series[str]) -> pd.Series[str]:
    """The texts of an optional column; None where a text is empty or a word for a missing value."""
    texts = text_or_none(column)
    if (missing := texts.str.strip().str.lower().isin(MISSING)).any():
        texts = texts.mask(missing, None)
    return texts


def ids_of(column: pd.Series[str]) -> pd.Series[str]:
    """Ids; a whole number that an export wrote as 4.0, or with blanks around it, is 4.

    >>> ids_of(pd.Series(["4", "4.0", " 4", "v4.0"])).tolist()
    ['4', '4', '4', 'v4.0']
    """
    texts = texts_of(column)
    if pc.any(pc.match_substring_regex(texts, r"^\s|\s$|\.0+$")).as_py():
        texts = pc.replace_substring_regex(texts, r"^\s*(-?\d+)(\.0+)?\s*$", r"\1")
    return pd.Series(texts, column.index, "str", column.name)
