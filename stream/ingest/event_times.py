"""Epoch milliseconds of one record's time, in any unit that a mapping may name.

Without a unit the size of a number tells it, by stream.time_units. Texts that are no number are ISO.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from zoneinfo import ZoneInfo

from stream.time_units import FIRST_DAY, LAST_DAY, PATTERNS, PER_SECOND, unit_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class EventTimes:
    """Times in `unit`, one of stream.log_mapping.UNITS, a strptime pattern, or "" for what they look like.

    `zone` is of texts that name none.

    >>> EventTimes("", "UTC").ms("2014-04-07T10:51:09.277Z") == EventTimes("s", "UTC").ms(1396867869.277)
    True
    """

    def __init__(self, unit: str, zone: str) -> None:
        self._per_second = PER_SECOND.get(unit, 0)
        self._pattern = PATTERNS.get(unit, unit if "%" in unit else "")
        # A pattern without a year names it: "%m%d in 2014".
        pattern, _, self._year = self._pattern.rpartition(" in ")
        if pattern:
            self._pattern = f"{pattern} in %Y"
        else:
            self._year = ""
        self._iso = unit == "iso"
        self._zone = ZoneInfo(zone)

    def ms(self, raw: object) -> int:
        """Epoch milliseconds. Raises ValueError for what is no time of this unit."""
        if type(raw) is int and self._per_second:
            return raw * 1_000 // self._per_second
        if isinstance(raw, datetime):
            return self._of_moment(raw)
        if isinstance(raw, date):
            return self._of_moment(datetime.combine(raw, clock_time()))
        if self._pattern:
            text = f"{_digits(raw)} in {self._year}" if self._year else _digits(raw)
            return self._of_moment(datetime.strptime(text, self._pattern))  # noqa: DTZ007
        number = None if self._iso else _number(raw)
        if number is None:
            if not isinstance(raw, str):
                raise ValueError(f"{raw!r} is no ISO text")
            return self._of_moment(datetime.fromisoformat(raw.strip().removesuffix(" UTC")))
        if not self._per_second and FIRST_DAY <= number <= LAST_DAY:
            return self._of_moment(datetime.strptime(_digits(raw), "%Y%m%d"))  # noqa: DTZ007
        per_second = self._per_second or PER_SECOND[unit_of(number)]
        if isinstance(number, int):
            return number * 1_000 // per_second
        # A float of seconds has its milliseconds rounded, not cut: .277 is .27699998 to it.
        return round(number * 1_000 / per_second)

    def _of_moment(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return (moment - EPOCH) // MILLISECOND


def _digits(raw: object) -> str:
    """The text of a day or moment written as a number, 20231114 or 20231114.0, or as a text."""
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError(f"{raw!r} is no time")
    return str(raw).strip()


def _number(raw: object) -> int | float | None:
    """The number that a value is or that a text writes; None for another text. Raises ValueError."""
    if isinstance(raw, bool):
        raise ValueError("a truth value is no time")
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float | Decimal):
        number = float(raw)
    elif isinstance(raw, str):
        text = raw.strip()
        if text.lstrip("-").isdecimal():
            return int(text)
        try:
            number = float(text)
        except ValueError:
            return None
    else:
        raise ValueError(f"{raw!r} is no time")
    if not math.isfinite(number):
        raise ValueError(f"{raw!r} is no time")
    return number
