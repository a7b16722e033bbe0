"""The error of an unknown log fits on a screen: what it looks like, what is nearest, the command to try."""

from pathlib import Path

import pytest

from tests.harness.commands import run_main

CASES = [
    ("a,b,c\n1,2,3\n", "a table of 3 columns between ','. No known layout has most of its columns"),
    (
        "InvoiceNo,StockCode,Description,Quantity,Date,UnitPrice,CustomerID,Country\n1,2,3,4,5,6,7,8\n",
        "Nearest is online-retail: this log lacks InvoiceDate, and has Date",
    ),
    (
        "user_id,item_id,cat_id,seller_id,time_stamp,action_type\n1,1,1,1,511,0\n",
        "Nearest is tmall: this log lacks brand_id",
    ),
    ("1,7,9,look,1500000000\n" * 30, "Nearest is taobao, without a header: column 4 has 'look' there"),
    ('{"session":1,"clicks":[{"aid":1,"ts":2}]}\n', "It is JSON with session, clicks[].aid, clicks[].ts"),
    ("hello world\n", "is no table with commas, tabs, semicolons or bars, and no JSON"),
    ("SESSIONID;ITEMID;TIME\n1;2;3\n", "this log writes SessionId, ItemId, Time otherwise"),
]


@pytest.mark.parametrize(("text", "told"), CASES)
def test_the_error_says_what_is_nearest_and_what_differs(tmp_path: Path, text: str, told: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    ended = run_main("data", "report", log)
    assert ended.code == 2
    assert told in " ".join(ended.errors.split())
    assert f"nextclick data guess {log}" in " ".join(ended.errors.split())
    assert len(ended.errors) < 1_000
