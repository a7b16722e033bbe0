"""Every line of a file is accounted for; a log of which nothing is left is an error."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.reading.account import FileAccount

HEADER = "timestamp_ms,session_id,user_id,item_id\n"


def clicks(count: int) -> str:
    return "".join(f"{1506826800026 + n},s{n},u,{n}\n" for n in range(count))


def test_lines_read_are_rows_given_and_rows_left_out(tmp_path: Path) -> None:
    text = "\n" + clicks(50) + "\n\n\nsoon,s,u,1\n1,2\n" + clicks(3) + "\n"
    path = tmp_path / "c.csv.gz"
    path.write_bytes(gzip.compress((HEADER + text).encode()))
    reader = EventFiles([path], on_error="skip").open()
    rejects: Counter[str] = Counter()
    assert sum(len(frame) for frame in reader.read(rejects)) == 53
    assert reader.accounts[str(path)] == {
        "bytes": len(HEADER + text),
        "lines": (HEADER + text).count("\n"),
        "header": 1,
        "blank": 5,
        "continued": 0,
        "given": 53,
        "left_out": 2,
        "unreadable": 2,
        "float_ids": 0,
        "lost": 0,
    }
    assert rejects.total() == 2


def test_the_lines_of_a_file_without_quotes_and_of_json_are_counted(tmp_path: Path) -> None:
    ratings, lines = tmp_path / "ratings.dat", tmp_path / "c.jsonl"
    ratings.write_text("1::2::3::978300760\n\n\n\n1::3::3::978300761\n")
    event = {"session_id": "s", "item_id": "i", "timestamp": 1700000000}
    lines.write_text(f"{json.dumps(event)}\n\n{json.dumps(event)}")
    for path, blank in ((ratings, 3), (lines, 1)):
        reader = EventFiles([path]).open()
        list(reader.read())
        account = reader.accounts[str(path)]
        assert (account["given"], account["blank"], account["lost"]) == (2, blank, 0)
        assert account["bytes"] == path.stat().st_size


def test_lines_that_were_lost_without_a_reason_are_an_error() -> None:
    with pytest.raises(NextclickError, match="2 of them neither became rows"):
        FileAccount(lines=10, header=1, given=7).check(Path("c.csv"))


def test_a_log_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER)
    with pytest.raises(NextclickError, match="no events"):
        EventFiles([path]).load()
    path.write_text(HEADER + "soon,s,u,1\n" * 3)
    with pytest.raises(NextclickError, match="no events"):
        EventFiles([path], on_error="skip").load()


def test_a_log_of_which_nearly_nothing_is_left_is_an_error_unless_its_share_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + clicks(10) + "soon,s,u,1\n" * 90)
    with pytest.raises(NextclickError, match="90 of 100 lines cannot be read"):
        list(EventFiles([path], on_error="skip").read())
    assert sum(len(frame) for frame in EventFiles([path], on_error="skip=0.9").read()) == 10
