"""A file of any layout is read as its mapping says: by name, number or path, in any container."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from stream.file_shape import FileShape
from stream.log_mapping import LEFT_OUT, LogMapping, parse_mapping

ROLES = ("session", "item", "time", "user", "brand")
TEXTS = st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\x85"), min_size=1, max_size=8
).filter(lambda text: text.strip() == text and text.lower() not in ("nan", "null", "none", "na", "-"))
ROWS = st.lists(
    st.tuples(
        TEXTS.map("s{}".format),
        TEXTS.map("i{}".format),
        st.integers(1_400_000_000, 1_700_000_000).map(str),
        TEXTS.map("u{}".format),
        TEXTS.map("b{}".format),
    ),
    min_size=2,
    max_size=12,
)


def read(path: Path, columns: LogMapping | str, **options: str) -> tuple[pd.DataFrame, Counter[str]]:
    rejects: Counter[str] = Counter()
    return EventFiles([path], columns=columns, **options).load(rejects), rejects  # type: ignore[arg-type]


def events(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    names = ["session_id", "item_id", "event_time_ms", "user_id", "brand"]
    return [tuple(row) for row in frame[names].itertuples(index=False)]


@settings(deadline=None, max_examples=60)
@given(
    ROWS,
    st.permutations(ROLES),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["names", "numbers", "no header", "json", "array", "parquet", "paths"]),
)
def test_a_table_is_the_same_events_however_it_is_written(
    rows: list[tuple[str, ...]],
    order: tuple[str, ...],
    delimiter: str,
    quoting: int,
    line_end: str,
    written: str,
) -> None:
    expected = sorted(
        ((s, i, int(t) * 1000, u, b) for s, i, t, u, b in rows), key=lambda event: int(str(event[2]))
    )
    table = pd.DataFrame(rows, columns=list(ROLES))[list(order)].rename(columns="the {}".format)
    named: dict[str, str | int] = {role: f"the {role}" for role in ROLES}
    numbered: dict[str, str | int] = {role: order.index(role) + 1 for role in ROLES}
    mapping = LogMapping(numbered if written in ("numbers", "no header") else named)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "own"
        if written in ("names", "numbers", "no header"):
            text = io.StringIO(newline="")
            table.to_csv(
                text, sep=delimiter, quoting=quoting, lineterminator=line_end, index=False,
                header=written != "no header",
            )  # fmt: skip
            path.write_text(text.getvalue(), "utf-8", newline="")
        elif written == "parquet":
            table.to_parquet(path)
        elif written == "paths":
            nested = [{"more": {"events": [record]}} for record in table.to_dict("records")]
            path.write_text("\n".join(map(json.dumps, nested)))
            mapping = LogMapping({role: f"more.events[].{name}" for role, name in named.items()})
        else:
            records = table.to_dict("records")
            path.write_text(
                json.dumps(records) if written == "array" else "\n".join(map(json.dumps, records))
            )
        assert events(read(path, mapping)[0]) == expected


def test_kinds_are_mapped_by_value_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "UserBehavior.csv"
    path.write_text("1,2,9,pv,1500000000\n1,3,9,buy,1500000001\n1,4,9,fav,1500000002\n1,5,9,wow,1500000003\n")
    found, rejects = read(path, "user=1,item=2,category=3,kind=4:pv=view,fav=left out,time=5:s,sessions=user")
    assert found[["session_id", "item_id", "kind", "category"]].to_numpy().tolist() == [
        ["1", "2", "view", "9"],
        ["1", "3", "purchase", "9"],
    ]
    assert rejects == {"left out by its kind": 1, "other kind of event": 1}


@pytest.mark.parametrize(
    ("rule", "sessions", "gap_s"),
    [
        ("user", ["a", "a", "a"], 0.0),
        ("day", ["a|2017-07-14", "a|2017-07-15", "a|2017-07-15"], 0.0),
        ("gap:20", ["a", "a", "a"], 1200.0),
    ],
)
def test_users_without_sessions_have_those_of_the_rule(
    tmp_path: Path, rule: str, sessions: list[str], gap_s: float
) -> None:
    path = tmp_path / "own.csv"
    # Not in order of time, and a row without a user.
    path.write_text(
        "u,i,t\na,3,2017-07-15T10:00:00\na,1,2017-07-14T22:30:00\na,2,2017-07-15T09:50:00\n,4,2017-07-15\n"
    )
    files = EventFiles([path], columns=f"user=u,item=i,time=t,sessions={rule}")
    rejects: Counter[str] = Counter()
    frame = files.load(rejects)
    assert frame["session_id"].tolist() == sessions
    assert frame["item_id"].tolist() == ["1", "2", "3"]
    assert rejects == {"no user": 1}
    # The model's session gap ends the sessions of users, in training and in the stream alike.
    assert files.open().session_gap_s == gap_s


def test_a_price_with_a_decimal_comma_is_read_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('s;i;t;p\n1;2;1500000000;"1.299,50"\n1;3;1500000001;12,99\n')
    mapping = parse_mapping("session=s,item=i,time=t,price=p,decimal=comma")
    assert read(path, mapping)[0]["price"].tolist() == [1299.5, 12.99]


def test_text_of_another_encoding_is_read_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("s,i,t,n\n1,2,1500000000,ежик\n", "cp1251")
    found, _ = read(path, "session=s,item=i,time=t,title=n,encoding=cp1251")
    assert found["title"].tolist() == ["ежик"]


def test_times_that_parquet_holds_without_a_zone_are_of_the_zone_that_is_said(tmp_path: Path) -> None:
    moments = pd.to_datetime(["2017-07-14 04:40", "2017-07-14 04:41"])
    for number, times in enumerate((moments, moments.tz_localize("Europe/Berlin"))):
        path = tmp_path / f"{number}.parquet"
        pd.DataFrame({"s": ["a", "a"], "i": ["1", "2"], "t": times}).to_parquet(path)
        found, _ = read(path, "session=s,item=i,time=t:iso@Europe/Berlin")
        assert found["event_time_ms"].tolist() == [1_500_000_000_000, 1_500_000_060_000]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("session=s,item=sku,time=t", "no column sku"),
        ("session=1,item=2,time=9", "no column 9"),
        ("session=s,item=i,time=t:%d.%m.", "has no year"),
        ("session=s,item=i,time=t,container=orc", "is no file of orc"),
        ("session=@key,item=i,time=t", "of the records of a topic"),
        ("session=s,item=i,time=twice", "2 columns named 'twice'"),
    ],
)
def test_what_does_not_fit_the_file_is_refused(tmp_path: Path, columns: str, said: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("s,i,t,twice,twice\n1,2,1500000000,1,2\n")
    with pytest.raises(NextclickError, match=said):
        read(path, columns)


def test_the_shape_of_a_file_may_be_said(tmp_path: Path) -> None:
    path = tmp_path / "own.dat"
    path.write_text('a::"1::1500000000\na::2::1500000001\n')
    mapping = LogMapping(
        {"session": 1, "item": 2, "time": 3}, files=FileShape(delimiter="::", header=False, quotes=False)
    )
    assert read(path, mapping)[0]["item_id"].tolist() == ['"1', "2"]
    assert LEFT_OUT == "left out"
