from pathlib import Path
from typing import Any

import pytest
import typer

from model.errors import NextclickError
from replay.commands.read_split import LogFiles, SplitChoice, read_split

LATER = [Path("later.csv")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, "temporal, shuffled or user, not 'random'"),
        ({"split": "shuffled", "test_files": LATER}, "leave --test"),
        ({"split": "user", "test_from": "2017-10-03"}, "leave --test"),
    ],
)
def test_options_that_contradict_the_split_are_misuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        SplitChoice(**options)


def test_a_split_by_user_knows_no_gap_and_reads_into_memory() -> None:
    by_user = SplitChoice("user")
    by_user.check(None)
    by_user.check(0.0)
    with pytest.raises(typer.BadParameter, match="no --session-gap-s"):
        by_user.check(1800.0)
    with pytest.raises(typer.BadParameter, match="--memory-map out"):
        by_user.check(None, memory_map=True)
    SplitChoice("temporal", LATER).check(1800.0, memory_map=True)


def test_a_log_is_read_with_stop_or_skip_alone() -> None:
    with pytest.raises(typer.BadParameter, match="stop or skip, not 'dlq'"):
        LogFiles(LATER, on_error="dlq")


def written(path: Path, sessions: range) -> Path:
    """A file of sessions of two events, each a minute after the one before."""
    rows = [
        f"s{n}\ti{(n + place) % 3}\t{1_400_000_000 + n * 60 + place}" for n in sessions for place in range(2)
    ]
    path.write_text("\n".join(["SessionId\tItemId\tTime", *rows]) + "\n")
    return path


@pytest.mark.parametrize("on_disk", [False, True])
def test_sessions_of_the_test_files_that_were_learned_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], on_disk: bool
) -> None:
    training = written(tmp_path / "training.txt", range(20, 40))
    overlapping = written(tmp_path / "overlapping.txt", range(35, 45))
    folder = tmp_path / "mapped" if on_disk else None
    if folder:
        folder.mkdir()
    parts = read_split(LogFiles([training]), SplitChoice(test_files=[overlapping]), 1800, folder=folder)
    assert parts.test.session_ids.tolist() == [f"s{n}" for n in range(40, 45)]
    assert "5 of 10 test sessions are in the training files: left out" in capsys.readouterr().err
    with pytest.raises(NextclickError, match="all 20 sessions of the test files are in the training files"):
        read_split(LogFiles([training]), SplitChoice(test_files=[training]), 1800)
