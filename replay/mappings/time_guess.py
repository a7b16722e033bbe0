"""The unit or pattern of a column of times, seen in a sample of its values.

Tested by tests/unit/replay/mappings/test_guess.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from replay.mappings.event_times import said_times
from replay.reading.format import number
from stream.time_units import MS_OF
from stream.time_units import PATTERNS as DIGIT_PATTERNS

# Times of logs lie between 1995 and 2100.
FIRST_MS, LAST_MS = 788_918_400_000, 4_102_444_800_000
LEAST_TIMES = 0.98
UNITS_OF_DIGITS = tuple((unit, len(unit)) for unit in DIGIT_PATTERNS)
CLOCKS = (" %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", ", %H:%M:%S", ", %H:%M", "T%H:%M:%S", "")
# Where dates are written with dots, days come first.
DAYS_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y")
MONTHS_FIRST = ("%m/%d/%Y", "%m-%d-%Y")
OTHERS = (
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d",
    "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%d %b %Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y", "%a, %d %b %Y %H:%M:%S %z",
)  # fmt: skip
PATTERNS = (*(day + clock for day in (*DAYS_FIRST, *MONTHS_FIRST) for clock in CLOCKS), *OTHERS)


@dataclass(frozen=True)
class TimeGuess:
    """How a column holds times: its units that fit, one of them or two that differ, and what they make of it.

    `days` says that every time is the beginning of a day.
    """

    units: tuple[str, ...]
    first: str
    made: str
    days: bool
    distinct: int


def time_guess(values: list[str]) -> TimeGuess | None:
    """How the values are times; None where they are none.

    >>> found = time_guess(["1396861497", "1396861500"])
    >>> (found.units, found.made) if found else None
    (('s',), '2014-04-07 09:04:57')
    """
    texts = pd.Series([value.strip() for value in values if value.strip()], dtype="str")
    if texts.empty:
        return None
    fitting = []
    for unit in _candidates(texts):
        times = said_times(texts, unit)
        if times.between(FIRST_MS, LAST_MS).mean() >= LEAST_TIMES:
            fitting.append((unit, times))
    if not fitting:
        return None
    # Of patterns that make the same of all values the first one says enough.
    different = [fitting[0]]
    for unit, times in fitting[1:]:
        if not any(times.equals(known) for _, known in different):
            different.append((unit, times))
    times = different[0][1].dropna()
    days = bool((times % 86_400_000 == 0).all())
    made = str(pd.Timestamp(times.iloc[0], unit="ms"))
    units = tuple(unit for unit, _ in different)
    return TimeGuess(units, str(texts.iloc[0]), made, days, int(times.nunique()))


def _candidates(texts: pd.Series[str]) -> tuple[str, ...]:
    numbers = number(texts)
    if numbers.notna().mean() >= LEAST_TIMES:
        lengths = texts.str.replace(r"\.0+$", "", regex=True).str.len()
        digits = [unit for unit, length in UNITS_OF_DIGITS if (lengths == length).all()]
        known = numbers.dropna()
        fitting = [unit for unit in MS_OF if (known * MS_OF[unit]).between(FIRST_MS, LAST_MS).all()]
        return (*digits, *fitting)
    return ("iso", *PATTERNS)
