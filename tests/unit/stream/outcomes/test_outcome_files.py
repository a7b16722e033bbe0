"""Outcomes as files: what a list says is there, what is forgotten is not, and a damaged folder says so."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.errors import NextclickError
from stream.outcomes.outcome import Outcome, Taken
from stream.outcomes.outcome_files import COLUMNS, TOPIC_FILE, OutcomeFiles, columns_of

LISTS = [
    Outcome(
        f"s{n % 3}", f"0-{n}", 1_000 + n, "v1", ["i", "j"], [Taken("0-9", "j", "purchase", 2, 60, "B", 2.5)],
        600_000, 2 if n else None, n, "fallback" if n == 1 else "", "e1", "challenger", 0.2, "AB",
    )
    for n in range(6)
]  # fmt: skip


def folder_of(root: Path) -> OutcomeFiles:
    files = OutcomeFiles(root)
    files._write(0, 0, 4, LISTS[:4])
    files._write(1, 10, 12, LISTS[4:])
    return files


def rows(root: Path) -> list[dict[str, object]]:
    return [row for path in OutcomeFiles(root)._files() for row in pq.read_table(path).to_pylist()]


def test_every_field_of_a_list_is_a_column(tmp_path: Path) -> None:
    assert folder_of(tmp_path).ends() == {0: 4, 1: 12}
    found = rows(tmp_path)
    assert set(COLUMNS.names) == set(Outcome.__struct_fields__)
    for row, outcome in zip(found, LISTS, strict=True):
        assert {name: row[name] for name in row if name != "taken"} == {
            name: getattr(outcome, name) for name in COLUMNS.names if name != "taken"
        }
        assert row["taken"] == [
            {name: getattr(one, name) for name in Taken.__struct_fields__} for one in outcome.taken
        ]


def test_what_is_forgotten_is_in_no_file_and_the_offsets_stay(tmp_path: Path) -> None:
    files = folder_of(tmp_path)
    (tmp_path / "partition=0" / ".left.unfinished").write_bytes(b"half of a file")
    assert files.remove({"s0", "nobody"}) == {
        "partition=0/00000000000000000000-00000000000000000004.parquet": 2,
    }
    assert files.remove({"s0"}) == {}
    assert {row["session_id"] for row in rows(tmp_path)} == {"s1", "s2"}
    assert files.ends() == {0: 4, 1: 12} and len(rows(tmp_path)) == 4
    assert not (tmp_path / "partition=0" / ".left.unfinished").exists()
    assert files.remove({"s1", "s2"}).keys() == {
        "partition=0/00000000000000000000-00000000000000000004.parquet",
        "partition=1/00000000000000000010-00000000000000000012.parquet",
    }
    assert rows(tmp_path) == [] and files.ends() == {0: 4, 1: 12}


def test_a_file_that_is_cut_off_and_a_second_process_are_named(tmp_path: Path) -> None:
    files = folder_of(tmp_path)
    with files._alone(), pytest.raises(NextclickError, match="another process writes to"):
        OutcomeFiles(tmp_path).remove({"s0"})
    path = files._files()[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(NextclickError, match=f"{path.name} cannot be read or written"):
        files.remove({"s0"})


def test_a_folder_without_exported_outcomes_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="is no folder of exported outcomes"):
        OutcomeFiles(tmp_path / "outcome").check()
    assert not (tmp_path / "outcome").exists()
    (tmp_path / TOPIC_FILE).write_text("{}")
    OutcomeFiles(tmp_path).check()


def test_columns_of_no_lists_are_those_of_a_file() -> None:
    assert columns_of([]).schema == COLUMNS
