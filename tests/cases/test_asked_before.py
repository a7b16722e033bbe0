"""What can be asked before the work begins is asked before it: can the results be written?"""

from pathlib import Path

import pytest

from replay.commands.outputs import check_file
from tests.harness.commands import run_main

BEFORE = "Nothing was read or computed"


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """A folder that cannot exist, whatever the rights of the tests: its parent is a file."""
    (tmp_path / "file").write_text("kept")
    return tmp_path / "file" / "folder"


@pytest.mark.parametrize(
    "arguments",
    [
        "train LOG --registry BELOW",
        "compare LOG --models pop --output BELOW/x",
        "tune LOG --output BELOW/x.toml",
        "cadence LOG --plot BELOW/x.png",
        "data report LOG --plot BELOW/x.png",
        "quality --plot BELOW/x.png",
        "certify LOG --certificate BELOW/x.json",
        "replay LOG --certificate BELOW/x.json",
        "replay LOG --checkpoint BELOW/x",
        "synthetic --output BELOW/x.csv",
        "retrain --registry BELOW",
        "retrain --metrics-file BELOW/x.prom",
        "archive --folder BELOW",
        "worker --state-dir BELOW",
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_log_is_opened(
    arguments: str, below: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The log is not there: whoever opens it first says so.
    given = [word.replace("BELOW", str(below)).replace("LOG", "no-log.csv") for word in arguments.split()]
    ended = run_main(*given)
    assert ended.code == 2
    assert BEFORE in ended.errors
    assert "do: " in ended.errors
    assert "no-log" not in ended.errors
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments",
    ["data report LOG --plot no/x.png", "certify LOG --certificate no/x", "synthetic --output no/x.csv"],
)
def test_a_folder_that_is_not_there_is_refused(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run_main(*arguments.split())
    assert ended.code == 2
    assert BEFORE in ended.errors
    assert list(tmp_path.iterdir()) == []


def test_asking_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    check_file("--plot", tmp_path / "there")
    check_file("--plot", tmp_path / "new")
    check_file("--plot", tmp_path / "new" / "folder" / "x", makes_folder=True)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "kept"
