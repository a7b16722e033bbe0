"""Times are read in the unit that is said, and in the zone that is said where they name none."""

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.mappings.event_times import check_unit, days_of, said_times

MOMENT_MS = 1_500_000_000_000  # 2017-07-14 02:40 UTC, 04:40 in Berlin.


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1500000000", "s"),
        ("1500000000000", "ms"),
        ("1500000000000000", "us"),
        ("1500000000000000000", "ns"),
        ("2017-07-14T02:40:00Z", "iso"),
        ("2017-07-14 04:40:00+02:00", "iso"),
        ("2017-07-14 02:40 UTC", "iso"),
        ("2017-07-14", "%Y-%m-%d"),
        ("20170714", "yyyymmdd"),
        ("201707140240", "yyyymmddhhmm"),
        ("20170714024000.0", "yyyymmddhhmmss"),
        ("14.07.2017 02:40", "%d.%m.%Y %H:%M"),
        ("7/14/2017 2:40:00 AM", "%m/%d/%Y %I:%M:%S %p"),
        ("Fri Jul 14 02:40:00 +0000 2017", "%a %b %d %H:%M:%S %z %Y"),
        ("714", "%m%d in 2017"),
    ],
)
def test_a_time_is_read_in_the_unit_that_is_said(text: str, unit: str) -> None:
    time = said_times(pd.Series([text, "soon"], dtype="str"), unit)
    whole_days = not any(sign in unit for sign in ("h", "H", "I", "s", "iso"))
    assert time.tolist()[0] == (MOMENT_MS // 86_400_000 * 86_400_000 if whole_days else MOMENT_MS)
    assert time.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("2017-07-14 04:40:00", ""),
        ("2017-07-14 04:40:00", "iso"),
        ("14.07.2017 04:40", "%d.%m.%Y %H:%M"),
        ("201707140440", "yyyymmddhhmm"),
        # A time that names its zone, and a number, are of that zone.
        ("2017-07-14 02:40:00Z", "iso"),
        ("2017-07-14T02:40:00.000+00:00", ""),
        ("1500000000", ""),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_that_is_said(text: str, unit: str) -> None:
    assert said_times(pd.Series([text], dtype="str"), unit, "Europe/Berlin").tolist() == [MOMENT_MS]


def test_of_an_hour_that_comes_twice_the_first_is_taken_and_one_that_never_was_is_none() -> None:
    texts = pd.Series(["2017-10-29 02:30:00", "2017-03-26 02:30:00"], dtype="str")
    found = said_times(texts, "iso", "Europe/Berlin")
    assert pd.Timestamp(found.iloc[0], unit="ms") == pd.Timestamp("2017-10-29 00:30")
    assert found.isna().tolist() == [False, True]


def test_the_day_of_a_time_is_of_the_zone() -> None:
    late = pd.Series([pd.Timestamp("2017-07-14 23:30", tz="UTC").value / 1e6, float("nan")])
    assert days_of(late, "UTC").tolist() == ["2017-07-14", ""]
    assert days_of(late, "Europe/Berlin").tolist() == ["2017-07-15", ""]


@pytest.mark.parametrize("pattern", ["%m%d", "%H:%M", "%d.%m. %H:%M"])
def test_a_pattern_without_a_year_is_refused(pattern: str) -> None:
    with pytest.raises(NextclickError, match="has no year"):
        check_unit(pattern)
    check_unit(f"{pattern} in 2014")
