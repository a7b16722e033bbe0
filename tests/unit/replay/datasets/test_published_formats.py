import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles
from replay.reading.values import MISSING
from replay.sending.encoding import EncodedEvents, encode
from stream.events import decode_event
from tests.harness.packed import write

RETAILROCKET = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,992329,addtocart,248676,
1433221999827,111016,transaction,318965,4000
1433221332117,257597,view,355908,
"""
DIGINETICA = """sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;1234;31331;1031018;2016-05-09
2;NA;32118;0;2016-02-29
"""
DIGINETICA_PURCHASES = """sessionId;userId;timeframe;eventdate;ordernumber;itemId
1;NA;600000;2016-05-09;16;81766
"""
TRIVAGO_COLUMNS = (
    "user_id,session_id,timestamp,step,action_type,reference,"
    "platform,city,device,current_filters,impressions,prices\n"
)
TRIVAGO = """U1,a,1541037460,1,search for poi,Newtown,AU,"Sydney, Australia",mobile,,,
U1,a,1541037522,2,interaction item image,666856,AU,"Sydney, Australia",mobile,,,
U1,a,1541037522,3,interaction item image,666857,AU,"Sydney, Australia",mobile,,,
U1,a,1541037532,4,clickout item,109038,AU,"Sydney, Australia",mobile,,3400638|1253714,95|66
U1,a,1541037540,5,clickout item,,AU,"Sydney, Australia",mobile,,3400638|1253714,95|66
"""
CLICKS = "1,2014-04-07T10:54:09.868Z,214536500,0\n1,2014-04-07T10:51:09.277Z,214536502,S\n"
BUYS = "1,2014-04-07T10:55:00.000Z,214536500,12462,1\n1,2014-04-07T10:55:00.001Z,214536502,0,0\n"
KAGGLE = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def rows(frame: pd.DataFrame, *names: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in frame[list(names)].itertuples(index=False)]


def loaded(*paths: Path, **options: str | None) -> tuple[pd.DataFrame, Counter[str]]:
    rejects: Counter[str] = Counter()
    return EventFiles(paths, **options).load(rejects), rejects  # type: ignore[arg-type]


def test_retailrocket_is_out_of_order_and_its_repeats_stand_far_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "events.csv", RETAILROCKET)
    assert detect(path) == "retailrocket"
    frame, rejects = loaded(path)
    assert rows(frame, "session_id", "kind", "event_time_ms") == [
        ("257597", "view", 1433221332117),
        ("111016", "purchase", 1433221999827),
        ("992329", "cart", 1433224214164),
    ]
    assert rejects == {"duplicate": 1}


def test_diginetica_times_are_a_day_and_milliseconds_and_purchases_join(tmp_path: Path) -> None:
    views = write(tmp_path / "train-item-views.csv", DIGINETICA)
    purchases = write(tmp_path / "train-purchases.csv", DIGINETICA_PURCHASES)
    assert [detect(path) for path in (views, purchases)] == ["diginetica", "diginetica-purchases"]
    frame, _ = loaded(views, purchases)
    day = int(pd.Timestamp("2016-05-09", tz="UTC").value // 10**6)
    leap = int(pd.Timestamp("2016-02-29", tz="UTC").value // 10**6)
    assert rows(frame, "session_id", "item_id", "event_time_ms", "kind") == [
        ("2", "32118", leap, "view"),
        ("1", "81766", day + 526309, "view"),
        ("1", "81766", day + 600000, "purchase"),
        ("1", "31331", day + 1031018, "view"),
    ]
    assert frame["user_id"].isna().tolist() == [True, True, True, False]


def test_trivago_keeps_actions_on_items_and_the_order_of_steps_within_a_second(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", TRIVAGO_COLUMNS + TRIVAGO)
    assert detect(path) == "trivago"
    frame, rejects = loaded(path)
    assert rows(frame, "item_id", "kind") == [("666856", "view"), ("666857", "view"), ("109038", "cart")]
    assert rejects == {"no action on an item": 1, "no item": 1}


def test_rsc15_clicks_and_buys_are_one_log(tmp_path: Path) -> None:
    clicks, buys = (
        write(tmp_path / "yoochoose-clicks.dat", CLICKS),
        write(tmp_path / "yoochoose-buys.dat", BUYS),
    )
    assert [detect(path) for path in (clicks, buys)] == ["rsc15-raw", "rsc15-buys"]
    frame, _ = loaded(buys, clicks)
    assert rows(frame, "item_id", "kind") == [
        ("214536502", "view"),
        ("214536500", "view"),
        ("214536500", "purchase"),
        ("214536502", "purchase"),
    ]
    assert frame["price"].tolist()[2] == 12462
    assert frame["price"].isna().tolist() == [True, True, False, True]


def test_months_may_be_named_in_any_order_and_packed_in_one_zip(tmp_path: Path) -> None:
    months = {
        "2019-Dec.csv": "2019-12-01 00:00:00 UTC",
        "2019-Nov.csv": "2019-11-01 00:00:00 UTC",
        "2020-Jan.csv": "2020-01-01 00:00:00 UTC",
    }
    texts = {name: f"{KAGGLE}{time},view,1,2,,,3.5,9,{name}\n" for name, time in months.items()}
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"ecommerce/{name}", text)
        archive.writestr("__MACOSX/ecommerce/._2019-Dec.csv", b"\x00")
    single = [write(tmp_path / f"{name}.gz", text) for name, text in texts.items()]
    for paths in ([tmp_path / "archive.zip"], single):
        files = EventFiles(paths).open()
        files.begin_with_the_earliest()
        found = [name for frame in files.read() for name in frame["session_id"]]
        assert found == ["2019-Nov.csv", "2019-Dec.csv", "2020-Jan.csv"]
        assert set(files.formats.values()) == {"mkechinov"}


def test_json_lines_are_known_by_the_names_that_logs_have(tmp_path: Path) -> None:
    lines = [
        {"session_id": "a", "item_id": "1", "event_time_ms": 1_500_000_000_000},
        {"session_id": "a", "item_id": 2, "event_time_ms": "2017-07-14T02:40:01+00:00", "kind": "addtocart"},
        {"session_id": "b", "item_id": "3", "event_time_ms": 1_500_000_002, "kind": "rating"},
    ]
    path = write(tmp_path / "e.jsonl.gz", "".join(json.dumps(line) + "\n" for line in lines) + "\n[1]\n")
    assert detect(path) == "json-lines"
    frame, rejects = loaded(path, on_error="skip")
    assert rows(frame, "session_id", "item_id", "event_time_ms", "kind") == [
        ("a", "1", 1_500_000_000_000, "view"),
        ("a", "2", 1_500_000_001_000, "cart"),
    ]
    assert rejects == {"no JSON object": 1, "other kind of event": 1}


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_parquet_is_known_by_its_columns_and_its_times_by_their_type(
    tmp_path: Path, zone: str | None
) -> None:
    times = pd.to_datetime([1_500_000_000_123, 1_500_000_001_000], unit="ms", utc=True)
    times = times.tz_convert(zone) if zone else times.tz_localize(None)
    table = pa.table(
        {
            "user_session": pa.array(["a", None]).dictionary_encode(),
            "product_id": [11, 12],
            "event_time": pa.array(times),
            "price": [1.5, None],
        }
    )
    path = tmp_path / "e.parquet"
    pq.write_table(table, path)
    assert detect(path) == "parquet"
    frame, rejects = loaded(path)
    assert rows(frame, "session_id", "item_id", "event_time_ms", "price") == [
        ("a", "11", 1_500_000_000_123, 1.5)
    ]
    assert rejects == {"no session": 1}
    cut = write(tmp_path / "cut.parquet", path.read_bytes()[:-20])
    with pytest.raises(NextclickError, match="does not read as Parquet"):
        loaded(cut)
    pq.write_table(table.rename_columns(["x", "y", "z", "price"]), path)
    with pytest.raises(NextclickError, match="which of its columns is what is not known: x, y, z"):
        loaded(path)
    assert len(loaded(path, columns="session=x,item=y,time=z")[0]) == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_other_file_is_read_by_the_names_of_its_columns(tmp_path: Path, delimiter: str) -> None:
    lines = [
        "visit,unread,sku,at,cents",
        "v1,x,s1,1500000000.25,7",
        "v1,x,s2,1500000001,",
        "v2,x,,1500000002,",
    ]
    path = write(tmp_path / "own.csv", "\n".join(line.replace(",", delimiter) for line in lines))
    with pytest.raises(NextclickError, match="the format is unknown"):
        detect(path)
    frame, rejects = loaded(path, columns="session=visit,item=sku,time=at,price=cents", on_error="skip")
    assert rows(frame, "session_id", "item_id", "event_time_ms") == [
        ("v1", "s1", 1_500_000_000_250),
        ("v1", "s2", 1_500_000_001_000),
    ]
    assert frame["price"].tolist()[0] == 7
    assert rejects == {"the item is empty": 1}
    with pytest.raises(NextclickError, match="has no column when"):
        loaded(path, columns="session=visit,item=sku,time=when")


@pytest.mark.parametrize(
    "text", ["", "session=a", "session=a,item=b,time=", "session=a,item=b,time=c,colour=d", "a,b,c"]
)
def test_columns_that_do_not_say_enough_are_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(NextclickError, match="the mapping is wrong: "):
        loaded(write(tmp_path / "own.csv", "a,b,c\n1,2,3\n"), columns=text)


def test_dead_letters_are_the_raw_lines_with_their_numbers(tmp_path: Path) -> None:
    whole = '2019-10-01 00:00:0{} UTC,view,1,2,"a\nb",,3.5,9,s\n'
    text = (
        KAGGLE
        + whole.format(0)
        + "short,line\n\n"
        + whole.format(1)
        + 'soon,view,1,2,"x ""quoted"", é",,3.5,9,s\n'
        + "also,short\n"
        + whole.format(2)
        + "never,view,1,2,,,1,9,s\n"
    )
    path = write(tmp_path / "k.csv", text)
    rejected: list[tuple[int, str, str]] = []
    files = EventFiles([path], on_error="dlq").open()
    files.reject_line = lambda path, line, reason, raw: rejected.append((line, reason, raw.decode()))
    rejects: Counter[str] = Counter()
    assert sum(len(frame) for frame in files.read(rejects)) == 3
    assert sorted(rejected) == [
        (4, "wrong number of fields", "short,line"),
        (8, "event_time is no time", 'soon,view,1,2,"x ""quoted"", é",,3.5,9,s'),
        (9, "wrong number of fields", "also,short"),
        (12, "event_time is no time", "never,view,1,2,,,1,9,s"),
    ]
    assert rejects == {"wrong number of fields": 2, "event_time is no time": 2}


VALUES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), min_size=1, max_size=20
)

# A word for nothing is no id.
IDS = VALUES.filter(lambda text: text.strip().lower() not in MISSING)


@settings(deadline=None)
@given(st.lists(st.tuples(IDS, IDS, VALUES), min_size=1, max_size=20))
def test_any_text_comes_through_quotes_newlines_and_json(values: list[tuple[str, str, str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [f"{quoted(s)},{quoted(i)},{5 + n},{quoted(b)}" for n, (s, i, b) in enumerate(values)]
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "own.csv", "\n".join(["s,i,t,b", *lines]) + "\n")
        events = EncodedEvents.of(
            encode(EventFiles([path], columns="session=s,item=i,time=t,brand=b").load())
        )
    found = [decode_event(value, key) for key, value, _ in events.records()]
    # Whole numbers are one id however they are written, and a word for nothing is no brand.
    number = re.compile(r"\s*(-?[0-9]+)(\.0+)?\s*", re.ASCII)
    ids = [tuple(number.sub(r"\1", one) if number.fullmatch(one) else one for one in v[:2]) for v in values]
    brands = [None if b.strip().lower() in MISSING else b for _, _, b in values]
    assert [(e.session_id, e.item_id) for e in found] == ids
    assert [e.brand for e in found] == brands


def test_milliseconds_are_not_taken_for_seconds_where_name_or_type_says_so(tmp_path: Path) -> None:
    times = [0, 5, 86_400_000, 99_999_999_999, 1_500_000_000_123]
    events = [{"session_id": "a", "item_id": "1", "event_time_ms": time_ms} for time_ms in times]
    paths = [
        write(tmp_path / "e.jsonl", "".join(json.dumps(event) + "\n" for event in events)),
        write(tmp_path / "own.csv", "sid,pid,at_ms\n" + "".join(f"a,1,{time_ms}\n" for time_ms in times)),
        tmp_path / "numbers.parquet",
        tmp_path / "times.parquet",
    ]
    frame = pd.DataFrame(events)
    frame.to_parquet(paths[2])
    frame["event_time"] = pd.to_datetime(frame.pop("event_time_ms"), unit="ms")
    frame.to_parquet(paths[3])
    for path in paths:
        columns = "session=sid,item=pid,time=at_ms" if path.suffix == ".csv" else None
        found, _ = loaded(path, columns=columns)
        assert found["event_time_ms"].tolist() == times, path
    # A name that says no unit: of a column of one unit, by its size.
    path = write(tmp_path / "s.csv", "sid,pid,at\na,1,5\na,1,1500000000123\n")
    with pytest.raises(NextclickError, match="at: 1 times of the sample are as large as seconds, 1 as milli"):
        loaded(path, columns="session=sid,item=pid,time=at")
    for unit, times in (("s", [5_000, 1_500_000_000_123_000]), ("ms", [5, 1_500_000_000_123])):
        found, rejects = loaded(path, columns=f"session=sid,item=pid,time=at:{unit}", on_error="skip")
        kept = [time_ms for time_ms in times if time_ms < 4e12]
        assert found["event_time_ms"].tolist() == kept
        assert rejects.total() == len(times) - len(kept)
