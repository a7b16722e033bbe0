"""Units of times that are numbers: which there are, and which one a number is in by its size or its digits.

The one place of these rules, for files, for topics and for guesses.

Tested by tests/unit/stream/test_time_units.py.
"""

from __future__ import annotations

import math

# How many of each unit a second has; and the milliseconds of one.
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
MS_OF = {unit: 1_000 / per for unit, per in PER_SECOND.items()}
# Without a named unit numbers from here on are milliseconds, microseconds, nanoseconds: seconds reach from
# 1973 to 5138 with 9 to 11 digits, and the smaller units follow with three more digits each.
LEAST_MS, LEAST_US, LEAST_NS = 1e11, 1e14, 1e17
SIZES = {
    "s": (0.0, LEAST_MS),
    "ms": (LEAST_MS, LEAST_US),
    "us": (LEAST_US, LEAST_NS),
    "ns": (LEAST_NS, math.inf),
}
# Times written as digits, by the name of the unit, which is as long as they are.
PATTERNS = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}
# Numbers that are days, 20231114: as seconds they would all lie in August 1970.
FIRST_DAY, LAST_DAY = 19_000_101, 21_001_231


def unit_of(number: float) -> str:
    """The unit of a number of this size; of a negative one that of its absolute value.

    >>> [unit_of(number) for number in (1_700_000_000, 1_700_000_000_000, -5.5, 10**19)]
    ['s', 'ms', 's', 'ns']
    """
    return next(unit for unit, (_, most) in SIZES.items() if abs(number) < most)
