"""Times as texts: numbers since 1970 in a unit, ISO texts, or texts of a strptime pattern.

A column has one unit. A text that does not fit it has no time, and is never of another unit; only an ISO
text says itself what it is, and is read beside any unit.

Tested by tests/cases/test_times.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.reading.fixed_times import UNREAD, fixed_ms
from replay.reading.format import epoch_ms, number, texts_of, times_of
from stream.time_units import MS_OF

ISO = "iso"
# What most logs write; other ISO texts take longer.
ISO_SHAPES = (
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d",
)
NAMES_UTC = ("Z", " UTC")
ZONED = r"(?:Z|z|[+-]\d\d:?\d\d| ?UTC| ?GMT)$"
# The parser of pandas takes numbers and other separators for ISO, too.
IS_ISO = r"^\s*\d{4}-\d\d|^\s*\d{8}T\d"
# Numbers of days and minutes that went through floats.
POINT_ZERO = r"\.0+$"


@dataclass(frozen=True)
class TimeUnit:
    """What the times of a column are.

    unit      s, ms, us or ns since 1970, "iso", or a strptime pattern
    zone      of texts that name none, as in the IANA database
    least     numbers below it, and from `most` on, do not fit the unit
    evidence  why, for people: "time: seconds, 1,396,861,497 is 2014-04-07 09:04:57"

    >>> TimeUnit("s").to_ms(pd.Series(["1.5", "1970-01-01T00:00:02Z", "soon"])).tolist()
    [1500.0, 2000.0, nan]
    >>> TimeUnit("%d.%m.%Y %H:%M", "Europe/Berlin").to_ms(pd.Series(["14.07.2017 04:40"])).tolist()
    [1500000000000.0]
    """

    unit: str
    zone: str = "UTC"
    least: float = -math.inf
    most: float = math.inf
    evidence: str = ""

    def to_ms(self, texts: pd.Series[str]) -> pd.Series[float]:
        """Epoch milliseconds of the texts; NaN where one is no time of this unit."""
        if self.unit == ISO:
            return iso_ms(texts, self.zone)
        if self.unit in MS_OF:
            numbers = number(texts).to_numpy()
            fits = (numbers >= self.least) & (numbers < self.most)
            found = numbers * MS_OF[self.unit]
        else:
            found = numbers = pattern_ms(texts, self.unit, self.zone).to_numpy()
            fits = ~np.isnan(found)
        if not fits.all():
            found = np.where(fits, found, np.nan)
            others = np.isnan(numbers)
            if others.any() and (iso := others & _is_iso(texts)).any():
                found[iso] = iso_ms(texts[iso], self.zone)
        return pd.Series(found, texts.index, name=texts.name)


def iso_ms(texts: pd.Series[str], zone: str = "UTC") -> pd.Series[float]:
    """Epoch milliseconds of ISO texts, in a zone where they name none; NaN for other texts.

    Of an hour that the end of summer time repeats the first one is taken; a time that its beginning
    leaves out is none.

    >>> iso_ms(pd.Series(["2017-07-14T02:40:00Z", "2017-07-14 04:40"]), "Europe/Berlin").tolist()
    [1500000000000.0, 1500000000000.0]
    """
    values = texts_of(texts)
    found = np.full(len(texts), np.nan)
    others = np.arange(len(texts))
    for shape in ISO_SHAPES:
        if zone == "UTC" or shape.endswith(NAMES_UTC):
            times = fixed_ms(values if len(others) == len(texts) else values.take(others), shape)
            found[others] = np.where(times == UNREAD, np.nan, times)
            others = others[times == UNREAD]
        if not len(others):
            break
    # Few texts of a log are of another shape, or many of the same time.
    rest = pd.Series(texts.iloc[others].to_numpy(dtype=object), dtype="str")
    if len(rest):
        rest = rest.where(_is_iso(rest), "")
        found[others] = _other_iso_ms(rest, zone).to_numpy()
    return pd.Series(found, texts.index, name=texts.name)


def pattern_ms(texts: pd.Series[str], pattern: str, zone: str = "UTC") -> pd.Series[float]:
    """Epoch milliseconds of texts of a strptime pattern; NaN for other texts.

    >>> pattern_ms(pd.Series(["20231114.0", "2023"]), "%Y%m%d").tolist()
    [1699920000000.0, nan]
    """
    if not pattern.replace("%", "").isalpha():
        plain = texts.str.strip()
    else:
        plain = texts.str.strip().str.replace(POINT_ZERO, "", regex=True)
    if zone == "UTC" or "%z" in pattern or "%Z" in pattern:
        times = times_of(plain, pattern)
        return times.astype("float64").where(times >= 0)
    return localised_ms(pd.to_datetime(plain, format=pattern, errors="coerce"), zone)


def localised_ms(moments: pd.Series[pd.Timestamp], zone: str) -> pd.Series[float]:
    """Epoch milliseconds of times that are in a zone and do not say so."""
    first = np.ones(len(moments), bool)
    local = moments.dt.tz_localize(zone, ambiguous=first, nonexistent="NaT").dt.tz_convert("UTC")
    return epoch_ms(local.dt.tz_localize(None)).astype("float64").where(local.notna())


def _other_iso_ms(texts: pd.Series[str], zone: str) -> pd.Series[float]:
    plain = texts.str.strip().str.replace(r" ?(?:UTC|GMT)$", "", regex=True)
    if zone == "UTC":
        moments = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce")
        return epoch_ms(moments).astype("float64").where(moments.notna())
    zoned = texts.str.contains(ZONED, regex=True)
    naive = pd.to_datetime(plain.where(~zoned), format="ISO8601", errors="coerce")
    found = localised_ms(naive, zone)
    if zoned.any():
        found[zoned] = _other_iso_ms(texts[zoned], "UTC")
    return found


def _is_iso(texts: pd.Series[str]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = texts.str.contains(IS_ISO, regex=True).fillna(False).to_numpy(bool)
    return found
