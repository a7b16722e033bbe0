"""A lone quote costs one line, named; values that run over a few lines are read."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets import event_files
from replay.datasets.event_files import EventFiles
from replay.reading.time_order import ascending_span

COLUMNS = "session=session_id,item=item_id,time=timestamp"
HEADER = ["session_id", "item_id", "timestamp", "note"]


def write(path: Path, notes: list[str], delimiter: str = ",", end: str = "\n") -> Path:
    rows = [HEADER] + [[f"s{n // 5}", f"i{n}", str(1_700_000_000 + n), note] for n, note in enumerate(notes)]
    path.write_bytes("".join(delimiter.join(row) + end for row in rows).encode())
    return path


def read(path: Path, on_error: str = "skip") -> tuple[pd.DataFrame, Counter[str], dict[str, int]]:
    rejects: Counter[str] = Counter()
    reader = EventFiles([path], columns=COLUMNS, on_error=on_error).open()
    frame = pd.concat(list(reader.read(rejects)), ignore_index=True)
    account = reader.accounts[str(path)]
    assert account["lost"] == 0
    assert account["lines"] == path.read_bytes().count(b"\n")
    assert account["bytes"] == path.stat().st_size
    return frame, rejects, account


@pytest.fixture(params=[400, 4096, 1 << 20])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of several sizes, so that a value lies across a border."""
    monkeypatch.setattr(event_files, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("between", [1, 2, 7, 19, 300])
def test_two_lone_quotes_cost_their_lines_and_not_the_rows_between(
    tmp_path: Path, between: int, delimiter: str, end: str
) -> None:
    notes = ["plain"] * 700
    notes[100], notes[100 + between] = '"tv', '"15 inch'
    path = write(tmp_path / "pair.csv", notes, delimiter, end)
    with pytest.raises(NextclickError, match=r"pair.csv, line 102: a quoted value runs over \d+ lines"):
        list(EventFiles([path], columns=COLUMNS).read())
    frame, rejects, _ = read(path)
    assert len(frame) == 698
    assert rejects.total() == 2
    assert all("a quoted value runs over" in reason for reason in rejects)


@pytest.mark.usefixtures("blocks")
def test_a_quote_closed_rows_later_as_a_value_is_closed_costs_one_line(tmp_path: Path) -> None:
    notes = ["plain"] * 300
    notes[100], notes[104], notes[200] = '"tv', '27"', '"tv, large"'
    frame, rejects, _ = read(write(tmp_path / "pair.csv", notes))
    assert len(frame) == 299
    assert rejects == {"a quoted value runs over 5 lines": 1}


@pytest.mark.usefixtures("blocks")
def test_a_quote_that_is_open_at_the_end_costs_one_line(tmp_path: Path) -> None:
    notes = ["plain"] * 300
    notes[297] = '"tv'
    frame, rejects, _ = read(write(tmp_path / "open.csv", notes))
    assert len(frame) == 299
    assert rejects == {"a quoted value runs over 3 lines": 1}


@pytest.mark.usefixtures("blocks")
def test_values_of_a_few_lines_and_quotes_within_values_are_read(tmp_path: Path) -> None:
    notes = ["plain"] * 300
    values = ['"two\nlines"', '"a ""b""\n\n, c"', '15" tv', '"x"', '""', '"one, two"', '"\n"', 'a"b"c']
    notes[50 : 50 + len(values)] = values
    notes[80] = '"' + "line\n" * 19 + '"'
    frame, rejects, account = read(write(tmp_path / "good.csv", notes))
    assert len(frame) == 300
    assert not rejects
    assert account["continued"] == 1 + 2 + 1 + 19


def test_the_lost_line_is_handed_on_with_its_number(tmp_path: Path) -> None:
    notes = ["plain"] * 100
    notes[40] = '"tv'
    path = write(tmp_path / "dlq.csv", notes)
    reader = EventFiles([path], columns=COLUMNS, on_error="dlq").open()
    lines = []
    reader.reject_line = lambda path, line, reason, text: lines.append((line, text))
    assert sum(len(frame) for frame in reader.read()) == 99
    assert lines == [(42, b's8,i40,1700000040,"tv')]


def test_a_broken_row_after_a_lost_line_keeps_its_number(tmp_path: Path) -> None:
    notes = ["plain"] * 100
    notes[40], notes[60] = '"tv', "a,b"
    path = write(tmp_path / "dlq.csv", notes)
    reader = EventFiles([path], columns=COLUMNS, on_error="dlq").open()
    lines = []
    reader.reject_line = lambda path, line, reason, text: lines.append((line, reason))
    assert sum(len(frame) for frame in reader.read()) == 98
    assert [line for line, _ in lines] == [42, 62]
    assert lines[1][1] == "wrong number of fields"


def test_a_line_longer_than_blocks_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "BLOCK_BYTES", 400)
    notes = ["plain"] * 30
    notes[10] = "x" * 5000
    frame, rejects, _ = read(write(tmp_path / "long.csv", notes))
    assert (len(frame), rejects.total()) == (30, 0)


def test_a_header_with_an_open_quote_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "header.csv"
    path.write_text('session_id,item_id,timestamp,"note\n' + "s,i,1700000000,x\n" * 50)
    with pytest.raises(NextclickError):
        list(EventFiles([path], columns=COLUMNS, on_error="skip").read())


def test_the_order_of_times_is_judged_over_the_same_rows(tmp_path: Path) -> None:
    header = "timestamp_ms,session_id,user_id,item_id\n"
    rows = [f"{1506826800026 + n},s,u,{n}\n" for n in range(200)]
    rows[50] = rows[50].replace(",s,", ',"s,')
    rows.insert(100, "1406826800026,s,u,1\n")
    path = tmp_path / "globo.csv"
    path.write_text(header + "".join(rows))
    reader = EventFiles([path], on_error="skip").open()
    assert not reader.times_ascend()
    (_, form) = reader._events[0]
    assert ascending_span(path, form, block_bytes=1 << 20) is None
