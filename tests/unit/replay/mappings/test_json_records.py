"""Records of JSON become rows by paths, in bounded pieces, and each is accounted for."""

import io
import json
from typing import IO, Any, cast

import pytest

from model.errors import NextclickError
from replay.mappings.json_records import RecordRows, array_records, line_records, record_chunks
from replay.reading.account import FileAccount
from replay.reading.format import UnreadableLine
from replay.reading.packed_files import WholeLines

RECORDS: list[dict[str, Any]] = [
    {"user": {"id": 1}, "visits": [{"at": 5, "items": ["a", "b"]}, {"at": 6, "items": []}]},
    {"user": {"id": "é, [x]"}, "visits": []},
    {"user": {"id": 2.5}, "visits": [{"at": 7, "items": ["c"]}]},
]
COLUMNS = {"user": "user.id", "time": "visits[].at", "item": "visits[].items[]"}
ROWS = [("1", "5", "a"), ("1", "5", "b"), ("2.5", "7", "c")]


def whole_lines(text: str) -> WholeLines:
    return WholeLines(cast("IO[bytes]", io.BufferedReader(io.BytesIO(text.encode()))))


@pytest.mark.parametrize("block_bytes", [3, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_lists_in_lists_give_a_row_for_each_element(block_bytes: int, indent: int | None) -> None:
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
    array = json.dumps(RECORDS, ensure_ascii=False, indent=indent)
    rows = RecordRows(COLUMNS)
    for text, split in ((f"{lines}\n\n", line_records), (array, array_records)):
        account = FileAccount()
        chunks = list(record_chunks(rows.roles, rows, split(whole_lines(text), block_bytes), account))
        assert [tuple(row) for chunk in chunks for row in chunk.rows.itertuples(index=False)] == ROWS
        account.given = len(ROWS)
        assert account.lost == 0


def test_a_broken_record_is_named_by_its_number_and_costs_itself() -> None:
    rows = RecordRows({"session": "s", "item": "e[].i", "time": "e[].t"})
    text = '{"s":1,"e":[{"i":1,"t":1}]}\n{"s":1,"e":7}\nno JSON\n{"s":[1],"e":[]}\n{"s":2,"e":[{"i":2}]}\n'
    account = FileAccount()
    (chunk,) = record_chunks(rows.roles, rows, line_records(whole_lines(text), 1 << 20), account)
    assert chunk.broken.tolist() == ["", "e is no list", "no JSON", "s is neither text nor a number", ""]
    assert [chunk.line_of(row)[0] for row in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"s":1}, {"s":2}', "the array does not end"),
        ('[{"s":1}, {"s":2}] [{"s":3}]', "the array has ended before this"),
        ('[{"s":1}, {"s":2}, {"s":', "no JSON"),
    ],
)
def test_an_array_that_is_cut_off_or_goes_on_says_so(text: str, reason: str) -> None:
    rows = RecordRows({"session": "s"})
    chunks = list(record_chunks(rows.roles, rows, array_records(whole_lines(text), 1 << 20), FileAccount()))
    assert [row for chunk in chunks for row in chunk.rows["session"]] == ["1", "2", ""]
    assert [row for chunk in chunks for row in chunk.broken] == ["", "", reason]


def test_a_name_with_a_point_is_a_name_where_the_record_has_it() -> None:
    assert RecordRows({"item": "item.id"})({"item.id": 1, "item": {"id": 2}}) == [("1",)]
    assert RecordRows({"item": "item.id"})({"item": {"id": 2}}) == [("2",)]
    assert RecordRows({"item": 2, "kind": "x"})(["a", "b"]) == [("b", "")]


def test_columns_of_two_lists_are_refused_and_a_record_that_is_none_is_unreadable() -> None:
    with pytest.raises(NextclickError, match=r"two lists: clicks\[\] and events\[\]"):
        RecordRows({"item": "events[].i", "time": "clicks[].t"})
    with pytest.raises(UnreadableLine):
        RecordRows({"item": "i"})("text")
