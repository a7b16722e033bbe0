from pathlib import Path
from typing import Any

import pytest
import typer

from replay.commands.read_split import LogFiles, SplitChoice

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
