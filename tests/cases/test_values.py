"""Values as people's files really have them: missing prices, ids as floats, units, days as numbers."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles

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


def test_an_item_called_nan_is_an_item(tmp_path: Path) -> None:
    text = "session_id,item_id,at\ns,nan,1700000001\n"
    assert read(tmp_path / "log.csv", text, columns=COLUMNS)["item_id"].tolist() == ["nan"]


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
