import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.apart import Apart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere items are made in a thread")


def test_items_come_in_order_from_another_process_and_calls_are_made_here_in_their_turn() -> None:
    apart, calls = Apart(), list[tuple[int, int]]()
    call = apart.here(lambda number: calls.append((number, os.getpid())))

    def items() -> Generator[tuple[int, int], None, None]:
        for number in range(3):
            call(number)
            yield number, os.getpid()

    with apart.made(items()) as taken:
        for number, process in taken:
            assert process != os.getpid()
            assert calls[: number + 1] == [(earlier, os.getpid()) for earlier in range(number + 1)]
    assert len(calls) == 3


def test_without_a_process_a_call_is_a_call() -> None:
    calls = list[int]()
    Apart().here(calls.append)(7)
    assert calls == [7]


def test_an_error_in_three_parts_comes_where_its_item_would_have_come() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise NextclickError("the line is broken", "nothing behind it was taken", "repair it")

    with Apart().made(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(NextclickError) as caught:
            next(taken)
    assert (caught.value.what, caught.value.remedy) == ("the line is broken", "repair it")


def test_a_defect_comes_with_its_traceback() -> None:
    def broken() -> Generator[int, None, None]:
        yield int("no number")

    with Apart().made(broken()) as taken, pytest.raises(RuntimeError, match="in broken") as caught:
        next(taken)
    assert "invalid literal for int() with base 10: 'no number'" in str(caught.value)


def test_a_process_that_was_killed_is_an_error_and_not_the_end_of_the_log() -> None:
    def items() -> Generator[int, None, None]:
        yield os.getpid()
        signal.pause()

    with Apart().made(items()) as taken:
        os.kill(next(taken), signal.SIGKILL)
        with pytest.raises(NextclickError, match="ended with code -9"):
            next(taken)


def test_whoever_stops_early_leaves_no_process_behind_and_what_was_open_is_closed(tmp_path: Path) -> None:
    def items() -> Generator[int, None, None]:
        (tmp_path / "run").touch()
        try:
            yield os.getpid()
            signal.pause()
        finally:
            (tmp_path / "run").unlink()

    with pytest.raises(KeyError), Apart().made(items()) as taken:
        process = next(taken)
        assert (tmp_path / "run").exists()
        raise KeyError
    assert not (tmp_path / "run").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_process_holds_no_file_of_this_one(tmp_path: Path) -> None:
    """A lock or a connection would outlive a replay that is killed."""

    def items() -> Generator[list[str], None, None]:
        yield [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]

    with (tmp_path / "lock").open("w") as file, Apart().made(items()) as taken:
        files = next(taken)
    assert file.name not in files
    assert sum(name.startswith("socket:") for name in files) == 0
    assert sum(name.startswith("pipe:") for name in files) >= 1
