import json
import lzma
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import nextclick
from model.errors import NextclickError

SMALL = ["--set", "hidden_size=16", "--set", "negatives=64", "--params", "deploy/params/globo-live.toml"]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first clicks of Globo's log: a few hours."""
    source = Path(__file__).parents[3] / "shared" / "data" / "globo" / "clicks.csv.xz"
    if not source.is_file():
        pytest.skip("the real log is not in shared/data; its licence keeps it out of the project")
    path = tmp_path_factory.mktemp("globo") / "clicks.csv"
    with lzma.open(source, "rt") as log, path.open("w") as cut:
        cut.writelines(islice(log, 25_000))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(nextclick.app, ["cadence", *map(str, arguments)])


def test_on_real_news_retraining_beats_never_and_following_helps(clicks: Path, tmp_path: Path) -> None:
    picture = tmp_path / "deeper" / "cadence.png"
    result = run(
        clicks, "--every", "never,30m", "--between", "none,both", "--plot", picture, "--json", *SMALL
    )
    assert result.exit_code == 0, (result.output, result.exception)
    answer: dict[str, Any] = json.loads(result.stdout)
    rows = {row["name"]: row for row in answer["rows"]}
    followed = " + live popularity + new items after 2"
    assert list(rows) == [
        "last-hour POP", "transitions", "never", f"never{followed}", "30m", f"30m{followed}"
    ]  # fmt: skip
    assert rows["30m"]["recall_differences"]["never"]["low"] > 0.02
    assert rows[f"never{followed}"]["recall_differences"]["never"]["low"] > 0.02
    assert rows["30m"]["versions"] > 3 > rows["never"]["versions"]
    assert sum(answer["series"][0]["targets"]) == answer["targets"] > 1000
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--every", "9d"], "less than one period of 9d"),
        (["--from", "2031-01-01"], "to evaluate"),
        (["--from", "2011-01-01"], "learn from before"),
        (["--until", "2011-01-01"], "no event is left"),
        (["--set", "network=pop"], "is no network that learns by gradients"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_three_parts(
    clicks: Path, arguments: list[str], words: str
) -> None:
    result = run(clicks, "--every", "never", "--share", "0.1", *SMALL, *arguments)
    assert isinstance(result.exception, NextclickError), result.output
    assert words in result.exception.what
    assert result.exception.meaning
    assert result.exception.remedy


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    result = run(tmp_path / "empty.csv")
    assert isinstance(result.exception, NextclickError)
    assert "empty" in result.exception.what


@pytest.mark.parametrize(
    "arguments", [["--every", "daily"], ["--every", "0h"], ["--every", ","], ["--between", "all"]]
)
def test_misuse_of_the_command_exits_with_2(clicks: Path, arguments: list[str]) -> None:
    assert run(clicks, *arguments).exit_code == 2
