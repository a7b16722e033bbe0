"""Times of a column of texts: their unit as the mapping says it, or as their size and form show it.

Without a named unit times are ISO texts (UTC without a zone) or numbers since 1970, whose size gives the
unit: seconds, milliseconds, microseconds or nanoseconds; days written as 20231114 are days.

Tested by tests/unit/replay/mappings/test_event_times.py and tests/cases/test_values.py.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from model.errors import NextclickError
from replay.reading.format import epoch_ms, number, times_of
from replay.reading.values import in_ms

# Days written as numbers.
FIRST_DAY, LAST_DAY = 19_000_101, 21_001_231
MS_OF = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
PATTERNS = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}
# A pattern that names its year beside it.
WITH_YEAR = re.compile(r"(.*%.*) in ([0-9]{4})")
DIGITS_OF = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2}
ZONED = r"(?:Z|z|[+-]\d\d:?\d\d| ?UTC| ?GMT)$"
DAY_MS = 86_400_000


def times_ms(texts: pd.Series[str], *, milliseconds: bool = False) -> pd.Series[float]:
    """Epoch milliseconds of numbers or ISO texts; NaN for other texts.

    >>> times_ms(pd.Series(["1", "1970-01-01T00:00:02Z", "soon"])).tolist()
    [1000.0, 2000.0, nan]
    """
    numbers = number(texts)
    if not milliseconds and (dates := _dates(texts, numbers)) is not None:
        return dates
    found = numbers * 1.0 if milliseconds else in_ms(numbers)
    words = numbers.isna()
    if words.any():
        found[words] = _iso(texts[words], "UTC")
    return found


def said_times(texts: pd.Series[str], unit: str, zone: str = "UTC") -> pd.Series[float]:
    """Epoch milliseconds of texts whose unit or pattern is named, in a zone where they name none.

    NaN for other texts. Of an hour that the end of summer time repeats the first one is taken; a time
    that its beginning leaves out is none.

    >>> said_times(pd.Series(["14.07.2017 04:40", "soon"]), "%d.%m.%Y %H:%M", "Europe/Berlin").tolist()
    [1500000000000.0, nan]
    """
    if unit in MS_OF:
        return number(texts) * MS_OF[unit]
    if unit in ("", "iso"):
        found = _iso(texts, zone)
        if unit:
            return found
        numbers = number(texts)
        return found.where(numbers.isna(), times_ms(texts.where(numbers.notna(), "")))
    pattern, year = PATTERNS.get(unit, unit), WITH_YEAR.fullmatch(unit)
    plain = texts.str.strip()
    if year:
        pattern = year[1]
    if "%" in pattern and not re.sub("|".join(DIGITS_OF), "", pattern):
        # Numbers lose a leading 0, and gain a point and a 0.
        width = sum(count * pattern.count(name) for name, count in DIGITS_OF.items())
        plain = plain.str.replace(r"\.0+$", "", regex=True).str.zfill(width)
    if year:
        plain, pattern = plain + f" {year[2]}", f"{pattern} %Y"
    if "%z" in pattern or "%Z" in pattern or zone == "UTC":
        times = times_of(plain, pattern)
        return times.astype("float64").where(times >= 0, np.nan)
    return _localised(pd.to_datetime(plain, format=pattern, errors="coerce"), zone)


def check_unit(unit: str) -> None:
    """Raise NextclickError for a pattern that can give no time."""
    plain = re.sub(r"%[-#]", "%", unit)
    if "%" in plain and not WITH_YEAR.fullmatch(plain) and not re.search("%[YyGsxcDF]", plain):
        raise NextclickError(
            f"the times of the log have the pattern {unit}, which has no year",
            "Without a year they are no times.",
            f"Name the year: '{unit} in 2014'",
        )


def in_zone(times: pd.Series[float], zone: str) -> pd.Series[float]:
    """Epoch milliseconds of times that a file holds as if they were in UTC, and are in a zone."""
    return times if zone == "UTC" else _localised(pd.to_datetime(times, unit="ms", errors="coerce"), zone)


def days_of(times: pd.Series[float], zone: str) -> pd.Series[str]:
    """The day of each time in a zone as a text, 2023-11-14; "" without a time.

    >>> days_of(pd.Series([1.7e12]), "Asia/Tokyo").tolist()
    ['2023-11-15']
    """
    known = times.where(times.between(0, 1e15))
    if zone != "UTC":
        local = pd.to_datetime(known, unit="ms", utc=True).dt.tz_convert(zone).dt.tz_localize(None)
        known = epoch_ms(local).astype("float64").where(known.notna())
    codes, days = pd.factorize((known // DAY_MS).astype("float64"))
    names = [*np.datetime_as_string(np.asarray(days, np.int64).astype("datetime64[D]")).tolist(), ""]
    return pd.Series(np.array(names, dtype=object)[codes], times.index, "str")


def _iso(texts: pd.Series[str], zone: str) -> pd.Series[float]:
    plain = texts.str.removesuffix(" UTC")
    if zone == "UTC":
        moments = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce")
        return epoch_ms(moments).astype("float64").where(moments.notna(), np.nan)
    zoned = texts.str.contains(ZONED, regex=True)
    naive = pd.to_datetime(plain.where(~zoned), format="ISO8601", errors="coerce")
    found = _localised(naive, zone)
    if zoned.any():
        found[zoned] = _iso(texts[zoned], "UTC")
    return found


def _localised(moments: pd.Series[pd.Timestamp], zone: str) -> pd.Series[float]:
    first = np.ones(len(moments), bool)
    local = moments.dt.tz_localize(zone, ambiguous=first, nonexistent="NaT").dt.tz_convert("UTC")
    return epoch_ms(local.dt.tz_localize(None)).astype("float64").where(local.notna(), np.nan)


def _dates(texts: pd.Series[str], numbers: pd.Series[float]) -> pd.Series[float] | None:
    """Epoch milliseconds of days written as numbers, 20231114; None where fewer than half of them are days.

    As seconds they would all lie in August 1970. NaN where a number among days is none.
    """
    known = numbers.notna()
    if 2 * numbers.between(FIRST_DAY, LAST_DAY).sum() < max(1, int(known.sum())):
        return None
    plain = texts.str.strip().str.replace(r"\.0+$", "", regex=True)
    days = pd.to_datetime(plain, format="%Y%m%d", utc=True, errors="coerce")
    if 2 * days.notna().sum() < known.sum():
        return None
    return epoch_ms(days).astype("float64").where(days.notna(), np.nan)
