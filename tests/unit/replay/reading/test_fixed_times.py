"""Times read by columns of digits are those that the date parser finds."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.reading.format import NO_TIME, epoch_ms, texts_of, times_of
from stream.events import MAX_EVENT_TIME_MS

PATTERNS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%Y%m%d%H%M",
    "%Y%m%d",
)
FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1960, 2105))
MOMENTS = st.datetimes(FIRST, LAST)
# A character of a time replaced by another one: a day that is none, a letter, a shorter text.
DAMAGES = st.tuples(st.integers(0, 30), st.sampled_from(["", "0", "3", "9", "x", " ", "é", "00"]))


def usable(times_ms: pd.Series[int]) -> list[int]:
    """What is later than an event may be is no time: of the year 3000 the date parser finds one or none."""
    return [time_ms if time_ms <= MAX_EVENT_TIME_MS else NO_TIME for time_ms in times_ms.tolist()]


@settings(deadline=None)
@given(
    st.sampled_from(PATTERNS),
    st.lists(st.tuples(MOMENTS, st.none() | DAMAGES), max_size=20),
    st.integers(0, 3),
)
def test_every_text_has_the_time_that_the_date_parser_finds(
    pattern: str, rows: list[tuple[datetime, tuple[int, str] | None]], first: int
) -> None:
    texts: list[str | None] = [None, ""]
    for moment, damage in rows:
        text = moment.strftime(pattern)
        if damage is not None:
            at, character = damage
            text = text[:at] + character + text[at + 1 :]
        texts.append(text)
    column = pd.Series(texts, dtype="str").iloc[first:]
    expected = epoch_ms(pd.to_datetime(column, format=pattern, utc=True, errors="coerce"))
    assert usable(times_of(column, pattern)) == usable(expected)
    assert len(texts_of(column)) == len(expected)


@pytest.mark.parametrize("digits", range(1, 10))
def test_a_fraction_of_any_length_is_cut_to_milliseconds(digits: int) -> None:
    column = pd.Series(["2014-04-07T10:51:09." + "123456789"[:digits] + "Z"], dtype="str")
    found = times_of(column, "%Y-%m-%dT%H:%M:%S.%fZ").tolist()
    moment = np.datetime64("2014-04-07T10:51:09").astype("datetime64[ms]").astype(int)
    assert found == [moment + (100, 120, 123)[min(digits, 3) - 1]]
    assert NO_TIME not in found
