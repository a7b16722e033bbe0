"""What unit or pattern the times of a column are, seen in a sample of its texts.

Numbers are decided by their size, or by their digits where these are days; texts by the pattern that reads
them. Which of a day and a month comes first is decided by a part above 12. Nothing is guessed: where a
sample shows no unit, or two, it is an error that names both.

Tested by tests/cases/test_times.py.
"""

from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.errors import NextclickError
from replay.reading.format import number
from replay.reading.times import ISO, POINT_ZERO, TimeUnit, iso_ms, pattern_ms
from replay.reading.values import MISSING
from stream.time_units import MS_OF, PATTERNS, SIZES

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# What most of a sample is, the sample is; the other texts have no time.
MOST = 0.5
# What nearly all of a sample must be to be refused for it, or to be read against its size.
NEARLY_ALL = 0.95
# A sample of two units has at least this share of the second.
SECOND = 0.1
# One order of day and month is the log's when it reads so many times more texts than the other.
DECISIVE = 20
# Earlier times do not fit a sample of which most are later.
YEAR_1990_MS = 631_152_000_000
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", ISO: "ISO"}
# Times as digits alone, by their number.
DIGITS = {len(unit): pattern for unit, pattern in PATTERNS.items()}
DIGITS = dict(sorted({**DIGITS, 10: "%Y%m%d%H", 17: "%Y%m%d%H%M%S%f"}.items()))
# Days as spreadsheets count them, from 1990 to 2100.
FIRST_SHEET_DAY, LAST_SHEET_DAY = 32_874, 73_051
SHORTENED = r"[+-]?\d(?:\.\d{1,8})?[eE]\+?\d+"
ORDER = re.compile("%[dmyY]")
# A time of day alone.
CLOCK = r"\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?\s*"
# Texts by which patterns are found.
SHAPES = 50
DATE = re.compile(
    r"(?:(?P<weekday>[A-Za-z]{3,9})(?P<after>,? ))?"
    r"(?P<date>\d{1,4}(?P<sign>[./-])\d{1,2}(?P=sign)\d{1,4}"
    r"|\d{1,2}(?P<gap>[ ./-])[A-Za-z]{3,9}(?P=gap)(?:\d{4}|\d\d)"
    r"|[A-Za-z]{3,9} \d{1,2},? \d{4})"
    r"(?:(?P<join>,? |T|:)(?P<time>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)(?: ?[AaPp][Mm])?)?"
    r"(?P<zone> ?(?:UTC|GMT|Z)| ?[+-]\d\d:?\d\d)?"
)


class UnclearTimes(NextclickError):
    """A sample that does not show its unit; `more` says whether further lines may."""

    more = False


def resolve(texts: pd.Series[str], name: str = "time") -> TimeUnit:
    """The unit of a column, by a sample of its texts. Raises UnclearTimes where the sample shows none.

    >>> resolve(pd.Series(["1396861497", "1396861500"])).evidence
    'time: seconds, 1,396,861,497 is 2014-04-07 09:04:57'
    >>> resolve(pd.Series(["1/2/2023", "14/2/2023"])).unit
    '%d/%m/%Y'
    """
    plain = texts.dropna().str.strip()
    plain = plain[(plain != "") & ~plain.str.lower().isin(MISSING)]
    if plain.empty:
        return TimeUnit(ISO, evidence=f"{name}: the sample has no times")
    numbers = number(plain)
    known = numbers.notna()
    # ISO texts are read beside numbers, numbers not beside ISO texts.
    if known.mean() >= (SECOND if iso_ms(plain[~known]).notna().mean() >= MOST else MOST):
        return _of_numbers(plain[known], numbers[known], name)
    return _of_words(plain[~known], name)


def _of_numbers(texts: pd.Series[str], numbers: pd.Series[float], name: str) -> TimeUnit:
    shortened = texts.str.fullmatch(SHORTENED)
    if shortened.mean() >= MOST:
        raise UnclearTimes(
            f"{name}: times such as {texts[shortened].iloc[0]} have lost their last digits",
            "A spreadsheet shortened them: events of many days share one time, and none is right.",
            "Export the times as whole numbers or as dates.",
        )
    digits = texts.str.replace(POINT_ZERO, "", regex=True)
    lengths = digits.str.len().where(digits.str.fullmatch(r"\d+"), 0).to_numpy(np.int64)
    for count, pattern in DIGITS.items():
        like = lengths == count
        # Ten digits are seconds as well, but all of them beyond 2033.
        least = NEARLY_ALL if count == 10 else MOST
        if like.mean() >= least and pattern_ms(digits[like], pattern).notna().sum() >= least * len(texts):
            return _found(pattern, texts, name)
    _refuse_parts(texts, numbers.to_numpy(), lengths, name)
    known = numbers[numbers > 0]
    counts = {unit: int(known.between(*bounds, inclusive="left").sum()) for unit, bounds in SIZES.items()}
    first, second = sorted(counts, key=lambda unit: -counts[unit])[:2]
    if counts[second] > SECOND * max(1, len(known)):
        raise UnclearTimes(
            f"{name}: {counts[first]:,} times of the sample are as large as {NAMES[first]}, "
            f"{counts[second]:,} as {NAMES[second]}",
            "A column has one unit: by one of the two the others are wrong.",
            f"Repair the file, or name the unit: {_option(name, first)}",
        )
    least, most = SIZES[first]
    if len(known) and known.median() >= YEAR_1990_MS / MS_OF[first]:
        least = YEAR_1990_MS / MS_OF[first]
    elif first == "s":
        least = -math.inf
    return _found(first, texts, name, least, most)


def _refuse_parts(
    texts: pd.Series[str], numbers: npt.NDArray[np.float64], lengths: Numbers, name: str
) -> None:
    """Raise UnclearTimes for numbers that nearly all read as a part of a date, or as a spreadsheet's."""
    values = np.where(lengths > 0, numbers, 0).astype(np.int64)
    # A few seconds since 1970 may read so, too.
    many = len(np.unique(values)) >= DECISIVE or float(np.median(numbers)) >= 2e9
    to_minutes, to_seconds = _is_minute(values), _is_minute(values // 100) & _within(values % 100, 0, 59)
    found: tuple[tuple[str, str, int, Flags], ...] = (
        ("years", "%Y", 4, _within(values, 1900, 2100)),
        ("months and days without a year", "%m%d in 2014", 4, _is_day(values)),
        ("months", "%Y%m", 6, _within(values // 100, 1900, 2100) & _within(values % 100, 1, 12)),
        ("days with two digits of the year", "%y%m%d", 6, _is_day(values % 10_000)),
        ("days that begin with the day", "%d%m%Y", 8, _is_day(_swapped(values)) & _has_year(values)),
        ("days that begin with the month", "%m%d%Y", 8, _is_day(values // 10_000) & _has_year(values)),
        ("minutes with two digits of the year", "%y%m%d%H%M", 10, to_minutes & many),
        ("seconds with two digits of the year", "%y%m%d%H%M%S", 12, to_seconds),
    )
    for meaning, pattern, count, reads in found:
        # Numbers lose a leading 0.
        if (reads & _within(lengths, count - 1, count)).mean() >= NEARLY_ALL:
            raise UnclearTimes(
                f"{name}: {texts.iloc[0]} and the others read as {meaning}, and as numbers since 1970",
                "Which of the two they are is not guessed.",
                f"Name it: {_option(name, pattern)}" + (f", or {_option(name, 's')}" if count < 12 else ""),
            )
    if _within(numbers, FIRST_SHEET_DAY, LAST_SHEET_DAY).mean() >= NEARLY_ALL:
        raise UnclearTimes(
            f"{name}: {texts.iloc[0]} and the others are days as spreadsheets count them, or seconds of 1970",
            "Nearly all lie between 32,874 (1990) and 73,051 (2100); which they are is not guessed.",
            f"Export the column as dates (2023-11-14 22:13). If they are seconds: {_option(name, 's')}",
        )


def _of_words(texts: pd.Series[str], name: str) -> TimeUnit:
    counts = texts.value_counts()
    distinct = pd.Series(counts.index.to_numpy(dtype=object), dtype="str")
    rows = counts.to_numpy()
    if rows[iso_ms(distinct).notna()].sum() >= MOST * len(texts):
        return _found(ISO, texts, name)
    reads = {pattern: pattern_ms(distinct, pattern).notna().to_numpy() for pattern in patterns_of(distinct)}
    ranked = sorted(reads, key=lambda pattern: -int(rows[reads[pattern]].sum()))
    if not ranked and rows[distinct.str.fullmatch(CLOCK).to_numpy(bool)].sum() >= MOST * len(texts):
        raise UnclearTimes(
            f"{name}: {distinct.iloc[0]!r} is a time of day, and no day is with it",
            "A time is read from one column.",
            "Name a column that has days too, or join the two: 2023-11-14 22:13:20",
        )
    if not ranked or rows[reads[ranked[0]]].sum() < MOST * len(texts):
        raise UnclearTimes(
            f"{name}: {distinct.iloc[0]!r} is no time of a form that is known",
            "Numbers, ISO times, dates with or without a time of day are known; most are of none.",
            f"Name another column, or the pattern: {_option(name, '%d.%m.%Y %H:%M')}",
        )
    first = ranked[0]
    for other in ranked[1:]:
        # Patterns of other parts read other texts.
        if ORDER.sub("%d", other) != ORDER.sub("%d", first):
            continue
        only_first = int(rows[reads[first] & ~reads[other]].sum())
        only_other = int(rows[reads[other] & ~reads[first]].sum())
        if only_first > DECISIVE * only_other:
            continue
        both = distinct[reads[first] & reads[other]]
        unclear = UnclearTimes(
            f"{name}: {(both if len(both) else distinct).iloc[0]} is a time by {first}, another by {other}",
            f"By one of them only are {only_first:,} and {only_other:,} times: there are both orders."
            if only_other
            else "No part above 12 shows which is the month, in all times that were looked at.",
            f"Name the right one: {_option(name, first)} or {_option(name, other)}",
        )
        unclear.more = not only_other
        raise unclear
    return _found(first, texts, name)


def patterns_of(texts: pd.Series[str]) -> list[str]:
    """The strptime patterns that texts of dates may follow, in every order of their parts.

    >>> patterns_of(pd.Series(["1/2/2023 9:05 PM"]))
    ['%d/%m/%Y %I:%M %p', '%m/%d/%Y %I:%M %p']
    """
    found: dict[str, None] = {}
    for text in texts.iloc[:SHAPES]:
        match = DATE.fullmatch(text)
        if match is None:
            continue
        before = "" if match["weekday"] is None else ("%a", "%A")[len(match["weekday"]) > 3] + match["after"]
        for date in _date_patterns(match["date"], match["sign"]):
            found[before + date + _clock_pattern(match, text)] = None
    return list(found)


def _date_patterns(date: str, sign: str | None) -> list[str]:
    if sign is None:
        month = re.search("[A-Za-z]+", date)
        assert month is not None
        named = date.replace(month[0], "%b" if len(month[0]) == 3 else "%B")
        year = r"\d{4}$", "%Y"
        if not re.search(year[0], named):
            year = r"\d\d$", "%y"
        return [re.sub(r"(?<![%\w])\d{1,2}(?!\w)", "%d", re.sub(year[0], year[1], named), count=1)]
    parts = date.split(sign)
    if len(parts[0]) > 2:
        orders: list[str] = ["Ymd"] if len(parts[2]) < 3 else []
    elif len(parts[2]) == 4:
        # Where dates are written with dots, days come first.
        orders = ["dmY"] if sign == "." else ["dmY", "mdY"]
    else:
        orders = ["dmy", "mdy", "ymd"]
    return [sign.join(f"%{part}" for part in order) for order in orders]


def _clock_pattern(match: re.Match[str], text: str) -> str:
    zone = match["zone"] or ""
    said = zone if zone.strip() in ("", "UTC", "GMT", "Z") else zone[: -len(zone.strip())] + "%z"
    if match["time"] is None:
        return said
    clock = re.sub(r"\d+$", "%f", match["time"]) if re.search("[.,]", match["time"]) else match["time"]
    after = re.search(r" ?[AaPp][Mm]", text[match.end("time") :])
    hour = "%H" if after is None else "%I"
    clock = re.sub(r"^\d+:\d\d(:\d\d)?", lambda one: f"{hour}:%M" + (":%S" if one[1] else ""), clock)
    return match["join"] + clock + ("" if after is None else after[0][:-2] + "%p") + said


def _within(values: Numbers | Floats, least: int, most: int) -> Flags:
    found: Flags = (values >= least) & (values <= most)
    return found


def _is_minute(values: Numbers) -> Flags:
    """Whether numbers end in a month, a day, an hour and a minute, 12312359."""
    clock = _within(values // 100 % 100, 0, 23) & _within(values % 100, 0, 59)
    return clock & _is_day(values // 10_000 % 10_000)


def _is_day(values: Numbers) -> Flags:
    """Whether numbers are a month and a day of it, 1231."""
    return _within(values // 100, 1, 12) & _within(values % 100, 1, 31)


def _swapped(values: Numbers) -> Numbers:
    return values // 10_000 % 100 * 100 + values // 1_000_000


def _has_year(values: Numbers) -> Flags:
    return _within(values % 10_000, 1900, 2100)


def _option(name: str, unit: str) -> str:
    return f"--columns session=…,item=…,time={name}:{unit}"


def _found(
    unit: str, texts: pd.Series[str], name: str, least: float = -math.inf, most: float = math.inf
) -> TimeUnit:
    found = TimeUnit(unit, least=least, most=most)
    times = found.to_ms(texts).dropna()
    said = f"{name}: {NAMES.get(unit, unit)}"
    if len(times):
        text = texts[times.index[0]]
        shown = f"{float(text):,.3f}".rstrip("0").rstrip(".") if unit in MS_OF else text
        moment = str(np.datetime64(round(times.iloc[0]), "ms")).replace("T", " ").removesuffix(".000")
        said += f", {shown} is {moment}"
    return TimeUnit(unit, least=least, most=most, evidence=said)
