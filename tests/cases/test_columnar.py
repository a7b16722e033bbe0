"""Files of columns: the same log in Parquet, Arrow, Feather and ORC, and columns within columns."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles, EventReader
from stream.file_shape import FileShape
from stream.log_mapping import LogMapping, parse_mapping
from tests.harness.commands import run_main

START_MS = 1_506_826_800_026
COLUMNS = "session=sid,item=sku,time=at"
Write = Callable[[pa.Table, Path], None]


def arrow_file(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def arrow_stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


def feather(table: pa.Table, path: Path) -> None:
    pyarrow.feather.write_feather(table, str(path), compression="lz4", chunksize=700)


def orc(table: pa.Table, path: Path) -> None:
    pyarrow.orc.write_table(table, str(path), stripe_size=16_384)


def parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=700)


WRITERS = [parquet, arrow_file, arrow_stream, feather, orc]


def clicks(rows: int = 2_000) -> pa.Table:
    return pa.table(
        {
            "sid": [f"s{n // 4}" for n in range(rows)],
            "sku": pa.array([n % 50 for n in range(rows)], pa.int64()),
            "at": pa.array([START_MS + 1_000 * n for n in range(rows)], pa.timestamp("ms")),
            "unused": ["x" * 20] * rows,
        }
    )


def read(path: Path, columns: LogMapping | str) -> tuple[pd.DataFrame, Counter[str], EventReader]:
    rejects: Counter[str] = Counter()
    reader = EventFiles([path], columns=columns).open()
    return pd.concat(reader.read(rejects), ignore_index=True), rejects, reader


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_log_is_the_same_events_in_every_container(tmp_path: Path, write: Write) -> None:
    path, expected = tmp_path / "clicks", tmp_path / "clicks.parquet"
    write(clicks(), path)
    parquet(clicks(), expected)
    frame, rejects, reader = read(path, COLUMNS)
    pd.testing.assert_frame_equal(frame, read(expected, COLUMNS)[0])
    assert (len(frame), rejects) == (2_000, Counter())
    assert frame["event_time_ms"].iloc[-1] == START_MS + 1_999_000
    (account,) = reader.accounts.values()
    assert (account["lines"], account["given"]) == (2_000, 2_000)


@pytest.mark.parametrize("write", WRITERS)
def test_a_known_layout_is_known_in_every_container(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "otto"
    kinds = ["clicks", "carts", "orders"]
    write(pa.table({"session": [1, 1, 2], "aid": [7, 8, 7], "ts": [START_MS] * 3, "type": kinds}), path)
    frame = EventFiles([path]).load()
    assert frame["kind"].tolist() == ["view", "cart", "purchase"]


@pytest.mark.parametrize("write", WRITERS)
def test_columns_within_columns_are_named_by_their_paths(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "nested"
    seen = [{"sku": {"id": 7 + n}, "at": START_MS + n} for n in range(3)]
    visits = [
        {"who": {"id": "u1", "n": 1}, "seen": seen[:2]},
        {"who": {"id": "u2", "n": 2}, "seen": []},
        {"who": {"id": "u3", "n": 3}, "seen": None},
        {"who": {"id": "u4", "n": 4}, "seen": seen[2:]},
    ]
    write(pa.Table.from_pylist(visits), path)
    frame, rejects, reader = read(path, "session=who.id,item=seen[].sku.id,time=seen[].at:ms")
    assert frame["session_id"].tolist() == ["u1", "u1", "u4"]
    assert frame["item_id"].tolist() == ["7", "8", "9"]
    assert frame["event_time_ms"].tolist() == [START_MS, START_MS + 1, START_MS + 2]
    assert rejects == Counter()
    # A visit without an element is a blank line.
    (account,) = reader.accounts.values()
    assert (account["lines"], account["blank"], account["given"]) == (5, 2, 3)
    with pytest.raises(NextclickError, match=r"has no column seen\[\]\.sky"):
        read(path, "session=who.id,item=seen[].sky,time=seen[].at:ms")


def test_columns_of_two_lists_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"s": ["a"], "items": [[1, 2]], "times": [[START_MS, START_MS]]}), path)
    with pytest.raises(NextclickError, match="the columns are of two lists"):
        read(path, "session=s,item=items[],time=times[]:ms")


@pytest.mark.parametrize("write", [parquet, arrow_file, orc])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "clicks"
    write(clicks(), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(NextclickError, match="does not read as"):
        read(path, COLUMNS)


def test_a_stream_that_is_cut_off_says_where(tmp_path: Path) -> None:
    path = tmp_path / "clicks"
    arrow_stream(clicks(), path)
    path.write_bytes(path.read_bytes()[:-5_000])
    with pytest.raises(NextclickError, match="row 1401: "):
        read(path, COLUMNS)


def test_a_container_that_a_mapping_names_is_held_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clicks"
    arrow_file(clicks(), path)
    mapping = parse_mapping(f"{COLUMNS},container=arrow")
    assert len(read(path, mapping)[0]) == 2_000
    with pytest.raises(NextclickError, match="is no file of orc") as caught:
        read(path, LogMapping(mapping.columns, files=FileShape(container="orc")))
    assert "begins as arrow does" in caught.value.meaning


def test_a_mapping_is_guessed_of_arrow_with_fields_within_fields(tmp_path: Path) -> None:
    path, mapping = tmp_path / "clicks.arrow", tmp_path / "mylog.toml"
    rows = [
        {"visitor": {"session_id": f"s{n // 4}"}, "item_id": f"i{n % 9}", "timestamp": START_MS + n * 1_000}
        for n in range(200)
    ]
    arrow_file(pa.Table.from_pylist(rows), path)
    ended = run_main("data", "guess", path, "--columns", "session=visitor.session_id", "--output", mapping)
    assert ended.code == 0, ended.errors
    report = run_main("data", "report", path, "--log", mapping, "--json")
    assert (report.code, '"events": 200' in report.out) == (0, True), report.errors


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_null_list_with_values_beneath_it_shifts_no_row(tmp_path: Path, kind: Callable[..., Any]) -> None:
    """As after a filter or an `if_else` over a whole column: the values stay, the list is null."""
    element = pa.struct({"sku": pa.string(), "at": pa.int64()})
    elements = pa.array([{"sku": f"i{n}", "at": START_MS + n} for n in range(5)], element)
    width = pa.int32() if kind is pa.list_ else pa.int64()
    offsets = pa.py_buffer(pa.array([0, 1, 3, 3, 5], width).buffers()[1])
    # The second of four records is null, and two elements lie beneath it.
    valid = pa.py_buffer(bytes([0b1101]))
    seen = pa.Array.from_buffers(kind(element), 4, [valid, offsets], children=[elements])
    path = tmp_path / "clicks.arrow"
    arrow_file(pa.table({"sid": ["a", "b", "c", "d"], "seen": seen}), path)
    frame, rejects, _ = read(path, "session=sid,item=seen[].sku,time=seen[].at:ms")
    assert (rejects, list(frame["session_id"]), list(frame["item_id"])) == (
        Counter(),
        ["a", "d", "d"],
        ["i0", "i3", "i4"],
    )
