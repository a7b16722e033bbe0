"""Values as exports write them: words for nothing, whole numbers as floats, prices.

Tested by tests/cases/test_values.py.
"""

from __future__ import annotations

import re
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
# Words that are ids of no item and no session; NA may be an id.
NO_IDS = pa.array(
    [text for text in MISSING_TEXTS.to_pylist() if text.lower() not in ("na", "nat")], pa.large_string()
)
# Prices that show what a comma is for, and those that do not.
DECIMAL_COMMA = r"-?\d+,(?:\d{1,2}|\d{4,})|-?\d{1,3}(?:\.\d{3})+,\d+"
DECIMAL_POINT = r"-?\d+\.(?:\d{1,2}|\d{4,})|-?\d{1,3}(?:,\d{3})+\.\d+|-?\d{1,3}(?:,\d{3}){2,}"
EITHER = r"-?\d{1,3}[.,]\d{3}"
THOUSANDS = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
UNCLEAR_PRICE = "the comma of the price is for decimals or for thousands"
# A number that went through a float, and has lost digits; hashes have no sign in them.
SHORTENED = r"^\s*-?\d(\.\d+)?[eE]\+\d{2,3}\s*$"
# A whole number as C and pandas write it, 1.234500e+04, and the exponent up to which a float has all digits.
WITH_EXPONENT = r"\s*(-?)(\d)(?:\.(\d+))?[eE]\+(\d{2,3})\s*"
MOST_EXPONENT = 14
FLOAT = r"^\s*-?\d+\.0+\s*$"
# What a regular expression takes for blanks, and Python's str.strip among ASCII.
BLANKS = (b" ", b"\t", b"\n", b"\f", b"\r", b"\v")
ASCII_BLANKS = (*BLANKS, b"\x1c", b"\x1d", b"\x1e", b"\x1f")


def price_of(
    column: pd.Series[str], decimal: str = ""
) -> tuple[pd.Series[float], pd.Series[bool], pd.Series[bool]]:
    """Prices, NaN where one is missing; which texts are none, and of which a comma may be either thing.

    Without a named `decimal` the column shows whether its commas are for decimals or for thousands.

    >>> [values.tolist() for values in price_of(pd.Series(["1.5", "NULL", "", "much"]))][:2]
    [[1.5, nan, nan, nan], [False, False, False, True]]
    >>> price_of(pd.Series(["12,99", "1.299,00"]))[0].tolist()
    [12.99, 1299.0]
    """
    price, texts = number(column), texts_of(column)
    absent = price.isna().to_numpy()
    unclear = np.zeros(len(texts), bool)
    if absent.any() or decimal == ",":
        absent = absent & (lengths_of(texts) > 0) & ~_missing(texts)
        if decimal == "," or (absent.any() and b"," in content_of(texts)):
            price, unclear = _price_with_commas(column, price, decimal)
            absent = absent & price.isna().to_numpy() & ~unclear
    flags = (pd.Series(found, column.index, name=column.name) for found in (absent, unclear))
    return price, *flags


def _price_with_commas(
    column: pd.Series[str], price: pd.Series[float], decimal: str
) -> tuple[pd.Series[float], npt.NDArray[np.bool_]]:
    """Prices of a column in which some have a comma, and which of them cannot be told."""
    plain = column.str.strip()
    by_comma, by_point = (plain.str.fullmatch(like).fillna(False) for like in (DECIMAL_COMMA, DECIMAL_POINT))
    of_point = number(plain.str.replace(",", "", regex=False).where(plain.str.fullmatch(THOUSANDS), plain))
    of_comma = number(plain.str.replace(".", "", regex=False).str.replace(",", ".", regex=False))
    nothing = np.zeros(len(column), bool)
    if decimal == "," or (not decimal and by_comma.any() and not by_point.any()):
        return of_comma, nothing
    if decimal == "." or (by_point.any() and not by_comma.any()):
        return of_point, nothing
    unclear = plain.str.fullmatch(EITHER).fillna(False)
    if not by_comma.any():
        unclear &= price.isna()
    found = of_comma.where(by_comma, of_point).mask(unclear)
    return found, unclear.to_numpy(bool)


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
    >>> ids_of(pd.Series(["1.234500e+04", "1.2e+04"])).tolist()
    ['12345', '1.2e+04']
    """
    texts = texts_of(column)
    content = content_of(texts)
    if _least(content) > ord("."):
        return column if column.dtype == "str" else pd.Series(texts, column.index, "str", column.name)
    if b"e+" in content or b"E+" in content:
        texts = pa.array([_whole(text) for text in texts.to_pylist()], pa.large_string())
        content = content_of(texts)
    if not (b".0" in content or any(blank in content for blank in BLANKS)):
        return pd.Series(texts, column.index, "str", column.name)
    texts = pc.replace_substring_regex(texts, r"^[\s\v]*(-?\d+)(\.0+)?[\s\v]*$", r"\1")
    return pd.Series(texts, column.index, "str", column.name)


def _whole(text: str | None) -> str | None:
    """A number with an exponent as digits, if it is whole, has all of them, and fits into a float."""
    found = None if text is None else re.fullmatch(WITH_EXPONENT, text)
    if not found:
        return text
    sign, first, fraction, exponent = found[1], found[2], found[3] or "", int(found[4])
    if exponent > MOST_EXPONENT or len(fraction) < exponent or fraction[exponent:].strip("0"):
        return text
    return f"{sign}{int(first + fraction[:exponent])}"


def no_ids(column: pd.Series[str]) -> pd.Series[bool]:
    """Whether each text is a word for nothing where an id should be.

    >>> no_ids(pd.Series(["NULL", "NA", "i1", ""])).tolist()
    [True, False, False, False]
    """
    return pd.Series(_missing(texts_of(column), NO_IDS), column.index)


def shortened_ids(column: pd.Series[str]) -> pd.Series[bool]:
    """Whether each id is a number whose digits an exponent has cut off.

    >>> shortened_ids(pd.Series(["1.0000000000000004e+16", "12e45"])).tolist()
    [True, False]
    """
    texts = texts_of(column)
    content = content_of(texts)
    if _least(content) > ord("+") or (b"e+" not in content and b"E+" not in content):
        return pd.Series(False, column.index)
    found = pc.fill_null(pc.match_substring_regex(texts, SHORTENED), False)
    return pd.Series(found.to_numpy(zero_copy_only=False), column.index)


def float_ids(*columns: pd.Series[str]) -> int:
    """How many ids an export wrote as floats, as `ids_of` reads them.

    >>> float_ids(pd.Series(["4.0", "4", "4.5"]), pd.Series(["1.0"]))
    2
    """
    every = [(values, content_of(values)) for values in map(texts_of, columns)]
    texts = [values for values, content in every if _least(content) <= ord(".") and b".0" in content]
    return sum(pc.sum(pc.match_substring_regex(values, FLOAT)).as_py() or 0 for values in texts)


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


def _most(content: bytes) -> int:
    """The largest byte."""
    return int(np.frombuffer(content, np.uint8).max(initial=0))


def _missing(texts: pa.LargeStringArray, words: pa.LargeStringArray = MISSING_TEXTS) -> npt.NDArray[np.bool_]:
    """Whether each text is a word for a missing value, in any case, with or without blanks around it."""
    content = content_of(texts)
    if _least(content) >= ord("0") and _most(content) <= ord("9"):
        return np.zeros(len(texts), bool)
    if not content.isascii() or (
        _least(content) <= ord(" ") and any(blank in content for blank in ASCII_BLANKS)
    ):
        texts = pc.utf8_trim_whitespace(texts)
    found = lengths_of(texts) <= LONGEST_MISSING
    if found.any():
        found[found] = pc.is_in(texts.filter(pa.array(found)), words).to_numpy(zero_copy_only=False)
    return found
