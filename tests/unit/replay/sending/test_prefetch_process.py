import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.sending.prefetch_process import ReaderProcess
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere items are made in a thread")


def test_items_come_in_order_from_another_process_and_calls_are_made_here_in_their_turn() -> None:
    reader, calls = ReaderProcess(), list[tuple[int, int]]()
    call = reader.in_parent(lambda number: calls.append((number, os.getpid())))

    def items() -> Generator[tuple[int, int], None, None]:
        for number in range(3):
            call(number)
            yield number, os.getpid()

    with reader.prefetch(items()) as taken:
        for number, process in taken:
            assert process != os.getpid()
            assert calls[: number + 1] == [(earlier, os.getpid()) for earlier in range(number + 1)]
    assert len(calls) == 3


def test_without_a_process_a_call_is_a_call() -> None:
    calls = list[int]()
    ReaderProcess().in_parent(calls.append)(7)
    assert calls == [7]


def test_an_error_in_three_parts_comes_where_its_item_would_have_come() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise NextclickError("the line is broken", "nothing behind it was taken", "repair it")

    with ReaderProcess().prefetch(items()) as taken:
        assert next(taken) == 1
        with pytest.raises(NextclickError) as caught:
            next(taken)
    assert (caught.value.what, caught.value.remedy) == ("the line is broken", "repair it")


def test_a_defect_comes_with_its_traceback() -> None:
    def broken() -> Generator[int, None, None]:
        yield int("no number")

    with (
        ReaderProcess().prefetch(broken()) as taken,
        pytest.raises(RuntimeError, match="in broken") as caught,
    ):
        next(taken)
    assert "invalid literal for int() with base 10: 'no number'" in str(caught.value)


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_a_process_that_was_killed_is_an_error_and_not_the_end_of_the_log(size: int) -> None:
    """While it makes an item, or while it hands over one that is larger than the pipe."""

    def items() -> Generator[int | bytes, None, None]:
        yield os.getpid()
        if not size:
            signal.pause()
        for _ in range(100):
            yield bytes(size)

    with ReaderProcess().prefetch(items()) as taken:
        process = next(taken)
        assert isinstance(process, int)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(NextclickError, match="ended with code -9"):
            list(taken)


def test_whoever_stops_early_leaves_no_process_behind_and_what_was_open_is_closed(tmp_path: Path) -> None:
    def items() -> Generator[int, None, None]:
        (tmp_path / "run").touch()
        try:
            yield os.getpid()
            signal.pause()
        finally:
            (tmp_path / "run").unlink()

    with pytest.raises(KeyError), ReaderProcess().prefetch(items()) as taken:
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

    with (tmp_path / "lock").open("w") as file, socket.socket() as connection:
        here = [str(Path(f"/proc/self/fd/{one.fileno()}").readlink()) for one in (file, connection)]
        with ReaderProcess().prefetch(items()) as taken:
            there = next(taken)
    assert len(here) == 2
    assert not set(here) & set(there)


def test_the_process_ends_with_this_one_even_when_that_is_killed() -> None:
    program = """
import os, signal
from replay.sending.prefetch_process import ReaderProcess

def items():
    print(os.getpid(), flush=True)
    signal.pause()
    yield

with ReaderProcess().prefetch(items()) as taken:
    next(taken)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        reading = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended = select.select([reading], [], [], 60)[0]
    os.close(reading)
    assert ended == [reading]
