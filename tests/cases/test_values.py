"""Values as people's files really have them: missing prices, ids as floats, units, days as numbers."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from tests.harness.commands import run_json

COLUMNS = "session=session_id,item=item_id,time=at"


def read(path: Path, text: str, *, columns: str | None = None, encoding: str = "utf-8") -> pd.DataFrame:
    path.write_text(text, encoding=encoding)
    return EventFiles([path], columns=columns).load()


@pytest.mark.parametrize("missing", ["NaN", "null"])
def test_an_event_without_its_optional_price_is_an_event_even_in_the_first_line(
    tmp_path: Path, missing: str
) -> None:
    lines = [
        f'{{"session_id":"s","item_id":"{n}","timestamp":170000000{n}000,"price":{missing}}}' for n in (1, 2)
    ]
    assert read(tmp_path / "log.jsonl", "\n".join(lines))["item_id"].tolist() == ["1", "2"]


def test_a_format_is_known_by_more_than_its_first_line(tmp_path: Path) -> None:
    first = '{"session_id":null,"item_id":null,"timestamp":1700000001000}'
    second = '{"session_id":"s","item_id":"i","timestamp":1700000002000}'
    path = tmp_path / "log.jsonl"
    path.write_text(f"{first}\n{second}\n")
    assert EventFiles([path], on_error="skip").load()["item_id"].tolist() == ["i"]


def test_half_a_surrogate_pair_beside_a_nan_is_a_line_that_is_no_json(tmp_path: Path) -> None:
    good = '{"session_id":"s","item_id":"a","timestamp":1700000001000}'
    bad = '{"session_id":"s","item_id":"\\ud800x","timestamp":1700000001000,"price":NaN}'
    path = tmp_path / "log.jsonl"
    path.write_text(f"{good}\n{bad}\n")
    rejects: Counter[str] = Counter()
    assert EventFiles([path], on_error="skip").load(rejects)["item_id"].tolist() == ["a"]
    assert rejects == {"no JSON": 1}


@pytest.mark.parametrize("word", ["NULL", "nan", "-", "\\N", "n/a"])
def test_a_word_for_nothing_is_no_price_and_no_brand(tmp_path: Path, word: str) -> None:
    text = f"session_id,item_id,at,price,brand\ns,i,1700000001,{word},{word}\ns,j,1700000002,2.5,acme\n"
    events = read(tmp_path / "log.csv", text, columns=f"{COLUMNS},price=price,brand=brand")
    assert events["price"].isna().tolist() == [True, False]
    assert events["brand"].isna().tolist() == [True, False]


def test_a_price_that_is_none_in_no_language_is_still_an_error(tmp_path: Path) -> None:
    text = "session_id,item_id,at,price\ns,i,1700000001,much\n"
    with pytest.raises(Exception, match="the price is no number"):
        read(tmp_path / "log.csv", text, columns=f"{COLUMNS},price=price")


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "null", "None", "none", "<NA>", "\\N", "-", " NULL"])
def test_a_word_for_nothing_is_no_item_and_no_session(tmp_path: Path, word: str) -> None:
    lines = [("s", word), (word, "i"), ("s", "i"), ("s", "nancy")]
    path = tmp_path / "log.csv"
    path.write_text("session_id,item_id,at\n" + "".join(f"{s},{i},1700000001\n" for s, i in lines))
    rejects: Counter[str] = Counter()
    events = EventFiles([path], columns=COLUMNS).load(rejects)
    assert events[["session_id", "item_id"]].to_numpy().tolist() == [["s", "i"], ["s", "nancy"]]
    assert rejects == {"no item": 1, "no session": 1}
    preprocessed = tmp_path / "log.txt"
    preprocessed.write_text(
        "SessionId\tItemId\tTime\n" + "".join(f"{s}\t{i}\t1700000001\n" for s, i in lines)
    )
    assert EventFiles([preprocessed]).load(rejects)["item_id"].tolist() == ["i", "nancy"]


@pytest.mark.parametrize("name", ["NA", "nat", "n", "Nathan", "0"])
def test_a_short_id_that_may_be_one_is_an_item(tmp_path: Path, name: str) -> None:
    text = f"session_id,item_id,at\ns,{name},1700000001\n"
    assert read(tmp_path / "log.csv", text, columns=COLUMNS)["item_id"].tolist() == [name]


@pytest.mark.parametrize("wrong", ["1e+16", "1.0000000000000004e+16", "1.2E+17"])
def test_an_id_that_a_float_has_cut_is_refused_by_line(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        f"session_id,item_id,at\ns,12e45,1700000001\ns,{wrong},1700000002\n{wrong},i,1700000003\n"
    )
    rejects: Counter[str] = Counter()
    assert EventFiles([path], columns=COLUMNS, on_error="skip").load(rejects)["item_id"].tolist() == ["12e45"]
    assert rejects == {
        f"{name} has lost digits in a float, such as 1e+16": 1 for name in ("item_id", "session_id")
    }
    with pytest.raises(NextclickError, match="line 3: item_id has lost digits in a float"):
        EventFiles([path], columns=COLUMNS).load()


def test_the_report_warns_of_ids_written_as_floats(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("session_id,item_id,at\n" + "1.0,4.0,1700000001\n1.0,5,1700000002\n" * 3)
    found = run_json("data", "report", path, "--columns", COLUMNS)
    warning = next(one for one in found["warnings"] if one["name"] == "ids as floats")
    assert warning["found"].startswith("9 ids were written as floats")
    path.write_text("session_id,item_id,at\n" + "1,v4.0,1700000001\n1,5,1700000002\n" * 3)
    found = run_json("data", "report", path, "--columns", COLUMNS)
    assert "ids as floats" not in {one["name"] for one in found["warnings"]}


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        (["12,99", "1.299,00", "1.299", "5", ""], [12.99, 1299.0, 1299.0, 5.0, None]),
        (["1,299.00", "12.99", "1,299", "1,299,000"], [1299.0, 12.99, 1299.0, 1_299_000.0]),
        (["1,299", "5", "12.50"], [1299.0, 5.0, 12.5]),
        (["0,5", "-3,25", "NULL"], [0.5, -3.25, None]),
    ],
)
def test_what_the_commas_of_prices_are_for_is_seen_in_the_column(
    tmp_path: Path, prices: list[str], expected: list[float | None]
) -> None:
    rows = "".join(f"s;i;1700000001;{price}\n" for price in prices)
    events = read(
        tmp_path / "log.csv", "session_id;item_id;at;price\n" + rows, columns=f"{COLUMNS},price=price"
    )
    assert [None if price != price else price for price in events["price"].tolist()] == expected


@pytest.mark.parametrize("prices", [["1,299", "5"], ["1,299", "12,99", "12.99", "1.299"]])
def test_a_comma_that_may_be_either_is_refused_by_line_unless_it_is_said(
    tmp_path: Path, prices: list[str]
) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"s;i{price};1700000001;{price}\n" for price in prices)
    path.write_text("session_id;item_id;at;price\n" + rows)
    with pytest.raises(NextclickError, match="line 2: the comma of the price is for decimals or"):
        EventFiles([path], columns=f"{COLUMNS},price=price").load()
    rejects: Counter[str] = Counter()
    kept = EventFiles([path], columns=f"{COLUMNS},price=price", on_error="skip").load(rejects)
    unclear = [price for price in prices if price in ("1,299", "1.299")]
    assert rejects == {"the comma of the price is for decimals or for thousands": len(unclear)}
    assert len(kept) == len(prices) - len(unclear)
    for word, price in (("comma", 1.299), ("point", 1299.0)):
        said = EventFiles([path], columns=f"{COLUMNS},price=price,decimal={word}", on_error="skip").load()
        assert said["price"].iloc[0] == price


def test_whole_numbers_are_one_item_however_they_are_written(tmp_path: Path) -> None:
    text = "session_id,item_id,at\ns,4,1700000001\ns,4.0,1700000002\ns, 4,1700000003\ns,4.5,1700000004\n"
    found = read(tmp_path / "log.csv", text, columns=COLUMNS)["item_id"].tolist()
    assert found == ["4", "4", "4", "4.5"]
    lines = [f'{{"session_id":1.0,"item_id":{item},"timestamp":1700000001000}}' for item in ("4", "4.0")]
    events = read(tmp_path / "log.jsonl", "\n".join(lines))
    assert events[["session_id", "item_id"]].to_numpy().tolist() == [["1", "4"], ["1", "4"]]


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000], ids=["s", "ms", "µs", "ns"])
def test_the_unit_of_the_most_copied_layout_is_seen(tmp_path: Path, unit: int) -> None:
    text = f"SessionId\tItemId\tTime\n1\t7\t{1_396_861_497 * unit}\n1\t8\t{1_396_861_500 * unit}\n"
    assert read(tmp_path / "log.txt", text)["event_time_ms"].tolist() == [
        1_396_861_497_000,
        1_396_861_500_000,
    ]


@pytest.mark.parametrize("point", ["", ".0"])
def test_a_day_as_a_number_is_a_day(tmp_path: Path, point: str) -> None:
    text = f"session_id,item_id,at\ns,i,20231114{point}\ns,j,20231115{point}\n"
    days = read(tmp_path / "log.csv", text, columns=COLUMNS)["event_time_ms"]
    assert pd.to_datetime(days, unit="ms").dt.strftime("%F").tolist() == ["2023-11-14", "2023-11-15"]


@pytest.mark.parametrize("wrong", ["20239999", "0", "1700000000"])
def test_a_number_among_days_that_is_none_has_no_time_and_turns_no_day_into_1970(
    tmp_path: Path, wrong: str
) -> None:
    text = f"session_id,item_id,at\ns,i,20231114\ns,j,20231115\ns,k,{wrong}\n"
    with pytest.raises(NextclickError, match="line 4: the time is none"):
        read(tmp_path / "log.csv", text, columns=COLUMNS)


def test_kaggles_copy_of_online_retail_is_read(tmp_path: Path) -> None:
    text = (
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "536365,85123A,CAFÉ SET,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"
        "536366,85123A,CAFÉ SET,6,12/13/2010 8:26,2.55,17850,United Kingdom\n"
    )
    events = read(tmp_path / "data.csv", text, encoding="latin-1")
    assert events["title"].tolist() == ["CAFÉ SET"] * 2
    assert events["event_time_ms"].tolist() == [1_291_191_960_000, 1_292_228_760_000]


def test_brands_and_categories_that_a_float_went_through_are_the_ids_that_they_were(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("sid,sku,at,b,c\ns,1,1700000000,3.0,12.0\ns,2,1700000001,Acme 2.0,\n")
    frame = EventFiles([path], columns="session=sid,item=sku,time=at,brand=b,category=c").load()
    assert frame["brand"].tolist() == ["3", "Acme 2.0"]
    assert frame["category"].iloc[0] == "12"
