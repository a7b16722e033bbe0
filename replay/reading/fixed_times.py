"""Times as texts of a fixed width, read by columns of digits instead of one text after another.

Knows %Y %m %d %H %M %S %f of strptime, and literal characters. Only texts that are surely times of the
pattern, from 1970 to 2100, are read; the caller reads the others in another way.

Tested by tests/unit/replay/reading/test_fixed_times.py.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNREAD = -1
WIDTHS = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2}
FRACTION, MOST_DIGITS = "%f", 9
MOST = {"%H": 23, "%M": 59, "%S": 59}
FIRST_YEAR, LAST_YEAR = 1970, 2100
# Days since 1970 at the beginning of each month.
MONTHS = (
    np.arange("1970-01", f"{LAST_YEAR + 1}-02", dtype="datetime64[M]").astype("datetime64[D]").astype(int)
)
Numbers = npt.NDArray[np.int64]
Characters = npt.NDArray[np.uint8]


def fixed_ms(texts: pa.LargeStringArray, pattern: str) -> Numbers:
    """Epoch milliseconds in UTC, fractions of one dropped; UNREAD for texts of another shape.

    >>> fixed_ms(pa.array(["1970-01-02", "1970-02-31", "soon", None], pa.large_string()), "%Y-%m-%d").tolist()
    [86400000, -1, -1, -1]
    """
    found = np.full(len(texts), UNREAD, np.int64)
    fields = re.findall(r"%.|[^%]", pattern, re.DOTALL)
    directives = [one for one in fields if len(one) == 2]
    _, offsets, data = texts.buffers()
    if (
        data is None
        or not len(texts)
        or not {"%Y", "%m", "%d"} <= set(directives) <= {*WIDTHS, FRACTION}
        or len(set(directives)) < len(directives)
        or not pattern.isascii()
    ):
        return found
    shortest = sum(WIDTHS.get(one, 1) for one in fields)
    longest = shortest + MOST_DIGITS - 1 if FRACTION in fields else shortest
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    starts = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts)]
    content = np.frombuffer(data, np.uint8)
    for width in range(shortest, longest + 1):
        rows = (lengths == width).nonzero()[0]
        if len(rows) == len(texts):
            first = int(starts[0])
            matrix = content[first : first + width * len(rows)].reshape(len(rows), width)
        elif len(rows):
            matrix = content[starts[rows, None] + np.arange(width)]
        else:
            continue
        found[rows] = _ms(np.ascontiguousarray(matrix.T), fields, width - shortest + 1)
    return found


def _ms(characters: Characters, fields: list[str], fraction: int) -> Numbers:
    """The times of texts of one width, given by columns of characters."""
    fits = np.ones(characters.shape[1], bool)
    none = np.zeros(characters.shape[1], np.int64)
    values: dict[str, Numbers] = {"%H": none, "%M": none, "%S": none}
    milliseconds = none
    at = 0
    for one in fields:
        if len(one) == 1:
            fits &= characters[at] == ord(one)
            at += 1
            continue
        width = WIDTHS.get(one, fraction)
        # What is no digit becomes more than 9.
        digits = characters[at : at + width] - np.uint8(ord("0"))
        fits &= (digits <= 9).all(0)
        if one == FRACTION:
            milliseconds = _number(digits[:3]) * (1, 100, 10)[width if width < 3 else 0]
        else:
            values[one] = _number(digits)
        at += width
    for one, most in MOST.items():
        fits &= values[one] <= most
    month = values["%m"]
    fits &= (values["%Y"] >= FIRST_YEAR) & (values["%Y"] <= LAST_YEAR) & (month >= 1) & (month <= 12)
    month = np.where(fits, (values["%Y"] - FIRST_YEAR) * 12 + month - 1, 0)
    day = values["%d"]
    fits &= (day >= 1) & (day <= MONTHS[month + 1] - MONTHS[month])
    seconds = ((MONTHS[month] + day - 1) * 24 + values["%H"]) * 60 + values["%M"]
    return np.where(fits, (seconds * 60 + values["%S"]) * 1000 + milliseconds, UNREAD)


def _number(digits: Characters) -> Numbers:
    found: Numbers = digits[0].astype(np.int64)
    for one in digits[1:]:
        found = found * 10 + one
    return found
