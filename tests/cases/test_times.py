"""Times of any unit or form are read as what they are, or refused by name: never as another unit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.mappings.mapped_files import format_of
from replay.reading.time_evidence import UnclearTimes, resolve
from stream.log_mapping import LogMapping
from tests.harness.commands import run_main

COLUMNS = "session=session_id,item=item_id,time=at"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def by(pattern: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(pattern)


def bare(pattern: str) -> Callable[[datetime], str]:
    """Without the zeros that spreadsheets leave out."""
    return lambda moment: moment.strftime(pattern.replace("%d", "%-d").replace("%m", "%-m"))


def since_1970(unit: timedelta) -> Callable[[datetime], str]:
    return lambda moment: str(int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / SECOND) * (SECOND // unit))


# How a log may write a moment, and what is left of it.
FORMS: dict[str, tuple[Callable[[datetime], str], timedelta]] = {
    "s": (since_1970(SECOND), SECOND),
    "s.0": (lambda moment: since_1970(SECOND)(moment) + ".0", SECOND),
    "ms": (since_1970(timedelta(milliseconds=1)), SECOND),
    "us": (since_1970(timedelta(microseconds=1)), SECOND),
    "ns": (lambda moment: since_1970(SECOND)(moment) + "000000000", SECOND),
    "yyyymmdd": (by("%Y%m%d"), DAY),
    "yyyymmdd.0": (by("%Y%m%d.0"), DAY),
    "yyyymmddhhmm": (by("%Y%m%d%H%M"), MINUTE),
    "yyyymmddhhmmss": (by("%Y%m%d%H%M%S"), SECOND),
    "iso": (by("%Y-%m-%dT%H:%M:%SZ"), SECOND),
    "iso blank": (by("%Y-%m-%d %H:%M:%S"), SECOND),
    "iso day": (by("%Y-%m-%d"), DAY),
    "iso zone": (by("%Y-%m-%dT%H:%M:%S+00:00"), SECOND),
    "iso UTC": (by("%Y-%m-%d %H:%M:%S UTC"), SECOND),
    "german": (by("%d.%m.%Y"), DAY),
    "german clock": (by("%d.%m.%Y %H:%M:%S"), SECOND),
    "british": (by("%d/%m/%Y %H:%M"), MINUTE),
    "american": (bare("%m/%d/%Y %H:%M"), MINUTE),
    "american clock": (bare("%m/%d/%Y %I:%M %p"), MINUTE),
    "american seconds": (by("%m/%d/%Y %I:%M:%S %p"), SECOND),
    "dashes": (by("%d-%m-%Y %H:%M"), MINUTE),
    "year first": (by("%Y/%m/%d"), DAY),
    "year first clock": (by("%Y/%m/%d %H:%M:%S"), SECOND),
    "named month": (by("%d-%b-%Y %H:%M"), MINUTE),
    "long month": (by("%d %B %Y"), DAY),
    "web server": (by("%d/%b/%Y:%H:%M:%S +0000"), SECOND),
}
MOMENTS = st.lists(
    st.datetimes(*(datetime(year, 10, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2001, 2032))),
    min_size=1,
    max_size=20,
)
# Days that no month has the number of, so that the order shows.
ANCHORS = [datetime(2011, 5, day, 13, 7, 9, tzinfo=UTC) for day in (14, 25, 31)]


@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moments=MOMENTS, delimiter=st.sampled_from([",", ";", "\t", "|"]), quoted=st.booleans())
def test_every_unit_and_form_reads_as_the_same_events(
    tmp_path: Path, form: str, moments: list[datetime], delimiter: str, quoted: bool
) -> None:
    written, rest = FORMS[form]
    times = [moment.replace(tzinfo=UTC) for moment in moments] + ANCHORS
    rows = [["session_id", "item_id", "at"], *(["s", f"i{n}", written(at)] for n, at in enumerate(times))]
    marked = [[f'"{value}"' if quoted else value for value in row] for row in rows]
    path = tmp_path / "own.csv"
    path.write_text("".join(delimiter.join(row) + "\n" for row in marked))
    found = pd.concat(EventFiles([path], columns=COLUMNS).read(), ignore_index=True)
    origin = datetime(1970, 1, 1, tzinfo=UTC)
    assert found["item_id"].tolist() == [f"i{n}" for n in range(len(times))]
    assert found["event_time_ms"].tolist() == [
        (at - origin) // rest * rest // timedelta(milliseconds=1) for at in times
    ]


@pytest.mark.parametrize("form", FORMS)
def test_the_most_copied_layout_and_json_lines_have_times_of_any_form(tmp_path: Path, form: str) -> None:
    written, rest = FORMS[form]
    origin = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(at - origin) // rest * rest // timedelta(milliseconds=1) for at in ANCHORS]
    preprocessed, lines = tmp_path / "log.txt", tmp_path / "log.jsonl"
    preprocessed.write_text("SessionId\tItemId\tTime\n" + "".join(f"1\t7\t{written(at)}\n" for at in ANCHORS))
    texts = [written(at) for at in ANCHORS]
    records = [
        {"session_id": "s", "item_id": "i", "timestamp": float(at) if at[4:6].isdigit() else at}
        for at in texts
    ]
    if form != "ns":
        lines.write_text("".join(json.dumps(record) + "\n" for record in records))
        assert EventFiles([lines]).load()["event_time_ms"].tolist() == expected
    assert EventFiles([preprocessed]).load()["event_time_ms"].tolist() == expected


@pytest.mark.parametrize(
    ("text", "reads_as"),
    [
        ("2023", "years"),
        ("202311", "months"),
        ("1114", "months and days without a year"),
        ("511", "months and days without a year"),
        ("231114", "days with two digits of the year"),
        ("14112023", "days that begin with the day"),
        ("11142023", "days that begin with the month"),
        ("2311142213", "minutes with two digits of the year"),
        ("231114221320", "seconds with two digits of the year"),
        ("45244", "days as spreadsheets count them"),
        ("45244.92", "days as spreadsheets count them"),
        ("1.7E+12", "have lost their last digits"),
        ("1/2/2023", "is a time by %d/%m/%Y, another by %m/%d/%Y"),
        ("01/02/2023 22:05", "is a time by %d/%m/%Y %H:%M, another by %m/%d/%Y %H:%M"),
        ("14.11.23", "is a time by %d.%m.%y, another by %y.%m.%d"),
        ("soon", "is no time of a form that is known"),
    ],
)
def test_what_is_two_things_or_none_is_refused_by_name_and_read_once_it_is_named(
    tmp_path: Path, text: str, reads_as: str
) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\n" + f"s,i,{text}\n" * 30)
    with pytest.raises(UnclearTimes, match=r"(?s)at: .*\n.*\n") as refused:
        EventFiles([path], columns=COLUMNS, on_error="skip").load()
    assert reads_as in str(refused.value)
    if "time=at:" in refused.value.remedy:
        unit = refused.value.remedy.split("time=at:")[1].split(", or")[0].split(" or --")[0].rstrip(".")
        named = EventFiles([path], columns=f"{COLUMNS}:{unit}", on_error="skip=1")
        assert sum(len(frame) for frame in named.read()) == (0 if text == "soon" else 30)


def test_a_preprocessed_log_of_days_is_not_of_1970(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("SessionId\tItemId\tTime\n1\t7\t20231114\n1\t8\t20231115\n")
    days = pd.to_datetime(EventFiles([path]).load()["event_time_ms"], unit="ms").dt.strftime("%F")
    assert days.tolist() == ["2023-11-14", "2023-11-15"]


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ("1396861497", ["1396861497000", "0", "5", "soon", "20231114", "14.11.2023"]),
        ("1396861497000", ["1396861497", "0", "nan", "202311142213"]),
        ("20231114", ["1396861497", "20231399", "2023"]),
        ("14.11.2023 22:05", ["11/14/2023 22:05", "14.11.2023", "32.11.2023 22:05", "1396861497"]),
        ("2023-11-14 22:05:00", ["1396861497", "2023", "14.11.2023", "20231114"]),
    ],
)
def test_a_text_that_does_not_fit_the_column_has_no_time_and_is_of_no_other_unit(
    tmp_path: Path, usual: str, odd: list[str]
) -> None:
    path = tmp_path / "own.csv"
    lines = [f"s,i,{usual}\n"] * 60
    lines[20:20] = [f"s,odd,{text}\n" for text in odd]
    path.write_text("session_id,item_id,at\n" + "".join(lines))
    rejects: Counter[str] = Counter()
    found = EventFiles([path], columns=COLUMNS, on_error="skip").load(rejects)
    assert found["item_id"].tolist() == ["i"] * 60
    assert rejects == {"the time is none": len(odd)}
    with pytest.raises(NextclickError, match="line 22: the time is none"):
        EventFiles([path], columns=COLUMNS).load()


def test_an_iso_text_says_itself_what_it_is_beside_numbers(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\ns,a,1396861497\ns,b,2014-04-07T09:04:58Z\n")
    times = EventFiles([path], columns=COLUMNS).load()["event_time_ms"]
    assert times.tolist() == [1_396_861_497_000, 1_396_861_498_000]


@pytest.mark.parametrize(("first", "second"), [(1, 1_000), (1_000, 1_000_000), (1, 1_000_000_000)])
def test_a_column_of_two_units_is_refused(tmp_path: Path, first: int, second: int) -> None:
    path = tmp_path / "own.csv"
    times = [(1_396_861_497 + n) * (first if n % 3 else second) for n in range(30)]
    path.write_text("session_id,item_id,at\n" + "".join(f"s,i,{time}\n" for time in times))
    with pytest.raises(UnclearTimes, match=r"20 times of the sample are as large as .*, 10 as "):
        EventFiles([path], columns=COLUMNS, on_error="skip").load()


@pytest.mark.parametrize(("last", "month"), [("1/13/2010", 1), ("13/1/2010", 2)])
def test_a_day_far_behind_the_first_lines_shows_which_part_is_the_month(
    tmp_path: Path, last: str, month: int
) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\n" + "session,item,1/2/2010\n" * 20_000 + f"s,i,{last}\n")
    first = next(EventFiles([path], columns=COLUMNS).read())["event_time_ms"].iloc[0]
    assert pd.Timestamp(first, unit="ms").month == month


HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def test_online_retails_order_of_day_and_month_is_seen_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    row = "536365,85123A,SET,6,{} 8:26,2.55,17850,United Kingdom\n"
    for other, expected in (("13/1/2010", "2010-01-12"), ("1/13/2010", "2010-12-01")):
        path.write_text(HEADER + row.format("12/1/2010") + row.format(other).replace("536365", "536366"))
        first = pd.to_datetime(EventFiles([path]).load()["event_time_ms"], unit="ms").dt.strftime("%F")
        assert expected in first.tolist()
    path.write_text(HEADER + row.format("12/1/2010"))
    with pytest.raises(UnclearTimes, match=r"12/1/2010 8:26 is a time by .*, another by "):
        EventFiles([path], on_error="skip").load()
    both = row.format("12/31/2010") + row.format("31/12/2010")
    path.write_text(HEADER + both)
    with pytest.raises(UnclearTimes, match="there are both orders"):
        EventFiles([path], on_error="skip").load()


def test_a_seen_form_is_read_in_the_zone_of_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\ns,i,14.07.2017 04:40\n")
    mapping = LogMapping(
        {"session": "session_id", "item": "item_id", "time": "at"}, time_zone="Europe/Berlin"
    )
    assert format_of(path, mapping).time_column == "at"
    assert EventFiles([path], columns=mapping).load()["event_time_ms"].tolist() == [1_500_000_000_000]


def test_the_evidence_is_kept_for_each_file(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\ns,i,1396861497\n")
    reader = EventFiles([path], columns=COLUMNS).open()
    assert sum(len(frame) for frame in reader.read()) == 1
    assert reader.times[str(path)].evidence == "at: seconds, 1,396,861,497 is 2014-04-07 09:04:57"


def test_the_report_on_a_log_says_what_its_times_are(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("session_id,item_id,at\n" + "s,i,1396861497\ns,j,1396861499\n" * 10)
    said = "at: seconds, 1,396,861,497 is 2014-04-07 09:04:57"
    found = run_main("data", "report", str(path), "--columns", COLUMNS, "--json")
    assert json.loads(found.out)["times"] == {str(path): said}
    assert f"seen in {said}" in run_main("data", "report", str(path), "--columns", COLUMNS).out


def test_a_sample_without_times_gives_no_times() -> None:
    assert resolve(pd.Series(["", "NULL"], dtype="str")).to_ms(pd.Series(["5", ""])).isna().all()
