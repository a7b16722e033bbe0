"""Files, topics and guesses say the same unit of a number: the rule has one place."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.mappings.event_times import said_times
from replay.mappings.time_guess import time_guess
from replay.reading.time_evidence import resolve
from stream.ingest.event_times import EventTimes
from stream.time_units import LEAST_MS, LEAST_NS, LEAST_US, PATTERNS, PER_SECOND, SIZES, unit_of

# 1996 to 2099, in which a guess looks for times.
MOMENTS = st.integers(820_454_400, 4_070_908_799)


@given(MOMENTS, st.sampled_from(tuple(PER_SECOND)))
def test_a_moment_in_any_unit_is_of_this_unit_everywhere(second: int, unit: str) -> None:
    number = second * PER_SECOND[unit]
    assert unit_of(number) == unit
    texts = [str(number), str(number)]
    seen, guessed = resolve(pd.Series(texts)), time_guess(texts)
    if len(texts[0]) not in (10, 12, 14, 17) or seen.unit in PER_SECOND:
        assert seen.unit == unit
        assert seen.to_ms(pd.Series(texts)).tolist() == [second * 1_000] * 2
    assert guessed is not None and unit in guessed.units
    assert EventTimes("", "UTC").ms(number) == EventTimes(unit, "UTC").ms(number) == second * 1_000
    assert said_times(pd.Series(texts), unit).iloc[0] == pytest.approx(second * 1_000)


@given(MOMENTS, st.sampled_from(tuple(PATTERNS)))
def test_digits_of_a_day_or_a_clock_are_read_alike(second: int, unit: str) -> None:
    text = pd.Timestamp(second, unit="s").strftime(PATTERNS[unit])
    whole = EventTimes(unit, "UTC").ms(text)
    assert said_times(pd.Series([text]), unit).tolist() == [whole]
    assert resolve(pd.Series([text])).unit == PATTERNS[unit]
    if unit == "yyyymmdd":
        assert EventTimes("", "UTC").ms(int(text)) == whole


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        (0, "s"),
        (LEAST_MS - 1, "s"),
        (LEAST_MS, "ms"),
        (-LEAST_MS, "ms"),
        (LEAST_US - 1, "ms"),
        (LEAST_US, "us"),
        (LEAST_NS, "ns"),
        (10**18, "ns"),
    ],
)
def test_the_bounds_of_sizes_belong_to_the_finer_unit(number: float, unit: str) -> None:
    assert unit_of(number) == unit
    least, most = SIZES[unit]
    assert least <= abs(number) < most
