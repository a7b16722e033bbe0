import csv
import gzip
import io
import lzma
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.detection import FORMATS, detect
from replay.datasets.event_files import EventFiles

GLOBO = "timestamp_ms,session_id,user_id,item_id\n1506826800026,11,59,234853\n1506826801702,12,79,159359\n"
RSC15 = "SessionId\tItemId\tTime\n1\t214536502\t1396860669.277\n1\t214536506\t1396860886.998\n"
RSC15_RAW = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
KAGGLE_HEADER = (
    "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
)
KAGGLE = (
    KAGGLE_HEADER
    + "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,s1\n"
    + "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,s1\n"
    + "2019-10-01 00:00:01 UTC,cart,3900821,2053013552326770905,appliances.water_heater,,33.20,554748717,s2\n"
    + "2019-10-01 00:00:02 UTC,remove_from_cart,3900821,2053013552326770905,,,33.20,554748717,s2\n"
    + "2019-10-01 00:00:03 UTC,purchase,3900821,2053013552326770905,,,33.20,554748717,\n"
)
RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
RETAIL = (
    RETAIL_HEADER
    + '536365,85123a,"WHITE HANGING HEART, ""T-LIGHT"" HOLDER",6,2010-12-01 08:26:00,2.55,17850.0,France\n'
    + "536365,85123A,AGAIN,2,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n"
    + "536365,POST,POSTAGE,1,2010-12-01 08:26:00,18.00,17850.0,United Kingdom\n"
    + "C536379,85123A,RETURNED,-1,2010-12-01 09:41:00,27.50,14527.0,United Kingdom\n"
    + "536380,22961,JAM MAKING SET PRINTED,24,2010-12-01 09:41:00,1.45,,United Kingdom\n"
    + "536381,22961,,-10,2010-12-01 09:50:00,0.0,,United Kingdom\n"
)


def write(path: Path, text: str) -> Path:
    content = text.encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(content))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.csv", content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("globo", GLOBO),
        ("rsc15", RSC15),
        ("rsc15-raw", RSC15_RAW),
        ("mkechinov", KAGGLE),
        ("online-retail", RETAIL),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".csv.zip"])
def test_the_format_is_known_by_the_content(tmp_path: Path, name: str, text: str, suffix: str) -> None:
    path = write(tmp_path / f"events{suffix}", text)
    assert detect(path) == name
    assert len(EventFiles([path]).load()) > 0


@pytest.mark.parametrize(("name", "text"), [("globo", GLOBO), ("rsc15", RSC15), ("mkechinov", KAGGLE)])
def test_a_file_written_with_all_its_values_quoted_is_the_same_log(
    tmp_path: Path, name: str, text: str
) -> None:
    plain = write(tmp_path / "plain.csv", text)
    rows = csv.reader(io.StringIO(text), delimiter=FORMATS[name].delimiter)
    with (tmp_path / "quoted.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, delimiter=FORMATS[name].delimiter)
        writer.writerows(rows)
    assert detect(tmp_path / "quoted.csv") == name
    pd.testing.assert_frame_equal(EventFiles([tmp_path / "quoted.csv"]).load(), EventFiles([plain]).load())


def test_globo_clicks_are_views_with_users(tmp_path: Path) -> None:
    frame = EventFiles([write(tmp_path / "c.csv", GLOBO)]).load()
    assert frame.to_dict("records")[0] == {
        "session_id": "11",
        "item_id": "234853",
        "event_time_ms": 1506826800026,
        "kind": "view",
        "user_id": "59",
    }


def test_both_forms_of_rsc15_keep_milliseconds(tmp_path: Path) -> None:
    times = [
        EventFiles([write(tmp_path / name, text)]).load()["event_time_ms"].tolist()
        for name, text in (("p.txt", RSC15), ("r.dat", RSC15_RAW))
    ]
    assert times == [[1396860669277, 1396860886998], [1396867869277, 1396868049868]]


def test_kaggle_dirt_is_counted_by_reason(tmp_path: Path) -> None:
    rejects: Counter[str] = Counter()
    frame = EventFiles([write(tmp_path / "k.csv", KAGGLE)]).load(rejects)
    assert rejects == {"duplicate": 1, "other kind of event": 1, "no session": 1}
    assert frame["kind"].tolist() == ["view", "cart"]
    assert frame["event_time_ms"].tolist() == [1569888000000, 1569888001000]
    assert frame["price"].tolist() == [35.79, 33.20]
    assert frame["brand"].isna().tolist() == [False, True]
    assert frame["category"].isna().tolist() == [True, False]


def test_retail_baskets_hold_sold_products_once(tmp_path: Path) -> None:
    rejects: Counter[str] = Counter()
    frame = EventFiles([write(tmp_path / "r.csv", RETAIL)]).load(rejects)
    assert rejects == {"repeated line of a basket": 1, "no product": 1, "return": 1, "no sale": 1}
    assert frame["item_id"].tolist() == ["85123A", "22961"]
    assert frame["title"].tolist()[0] == 'WHITE HANGING HEART, "T-LIGHT" HOLDER'
    assert frame["user_id"].tolist()[0] == "17850"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (GLOBO + "150682", "line 4", "wrong number of fields, 1 instead of 4"),
        (GLOBO + "soon,13,1,2\n", "line 4", "timestamp_ms is no number"),
        (GLOBO + "1506826801702,,1,2\n", "line 4", "session_id is empty"),
        (RSC15_RAW + "1,yesterday,2,0\n", "line 3", "timestamp is no ISO time"),
        (KAGGLE_HEADER + "2019-10-01,view,1,2,,,3.5,4,s\n", "line 2", "event_time is no time"),
        (RETAIL_HEADER + "1,22961,X,many,2010-12-01 09:41:00,1.45,,UK\n", "line 2", "Quantity is no number"),
    ],
)
def test_a_broken_line_is_named_or_counted(tmp_path: Path, text: str, line: str, reason: str) -> None:
    path = write(tmp_path / "broken.csv", text)
    with pytest.raises(NextclickError) as caught:
        list(EventFiles([path]).read())
    assert str(path) in caught.value.what
    assert line in caught.value.what
    assert reason in caught.value.what
    rejects: Counter[str] = Counter()
    list(EventFiles([path], on_error="skip").read(rejects))
    assert rejects.total() == 1


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", GLOBO.replace("user_id,", "")])
def test_an_unknown_format_is_an_error_that_shows_the_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "unknown.csv", text)
    with pytest.raises(NextclickError) as caught:
        detect(path)
    assert str(path) in caught.value.what


def test_a_missing_column_is_named_when_the_format_is_forced(tmp_path: Path) -> None:
    path = write(tmp_path / "short.csv", "timestamp_ms,session_id,item_id\n1,2,3\n")
    with pytest.raises(NextclickError, match="user_id"):
        list(EventFiles([path], format="globo").read())


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.xz", ".csv.zip"])
def test_a_cut_off_archive_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"cut{suffix}", GLOBO * 1)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(NextclickError, match="cut off"):
        list(EventFiles([path]).read())


def test_a_log_without_events_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="no events"):
        EventFiles([write(tmp_path / "empty.csv", GLOBO.split("\n")[0] + "\n")]).load()


def test_the_real_samples_are_read_whole(shared_data: Path) -> None:
    rejects: Counter[str] = Counter()
    kaggle = EventFiles([shared_data / "rees46" / "2019-Oct-first-17k.csv"], on_error="skip").load(rejects)
    assert len(kaggle) + rejects.total() == 17_435
    assert rejects["wrong number of fields"] == 1
    rsc15 = EventFiles(sorted((shared_data / "rsc15").glob("*.txt"))).load()
    assert len(rsc15) == 70_278 + 13_568
