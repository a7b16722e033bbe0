"""Times of a column of texts, whose unit, pattern and zone the mapping says.

Tested by tests/unit/replay/mappings/test_event_times.py and tests/cases/test_values.py.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from model.errors import NextclickError
from replay.reading.format import epoch_ms, number
from replay.reading.time_evidence import resolve
from replay.reading.times import ISO, iso_ms, localised_ms, pattern_ms
from stream.time_units import MS_OF, PATTERNS

# A pattern that names its year beside it.
WITH_YEAR = re.compile(r"(.*%.*) in ([0-9]{4})")
DIGITS_OF = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2}
DAY_MS = 86_400_000


def said_times(texts: pd.Series[str], unit: str, zone: str = "UTC") -> pd.Series[float]:
    """Epoch milliseconds of texts whose unit or pattern is named, in a zone where they name none.

    NaN for other texts. Of an hour that the end of summer time repeats the first one is taken; a time
    that its beginning leaves out is none.

    >>> said_times(pd.Series(["14.07.2017 04:40", "soon"]), "%d.%m.%Y %H:%M", "Europe/Berlin").tolist()
    [1500000000000.0, nan]
    """
    if unit in MS_OF:
        return number(texts) * MS_OF[unit]
    if unit == ISO:
        return iso_ms(texts, zone)
    if not unit:
        return replace(resolve(texts), zone=zone).to_ms(texts)
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
    return pattern_ms(plain, pattern, zone)


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
    return times if zone == "UTC" else localised_ms(pd.to_datetime(times, unit="ms", errors="coerce"), zone)


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
