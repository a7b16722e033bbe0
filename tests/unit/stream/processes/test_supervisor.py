"""Real processes, of a program that imports the supervisor and nothing else that is large."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes need Linux")
PATIENCE_S = 240.0
# Each process writes its pid into a file of its name, then does what `of_N` says: a line of Python.
PROGRAM = """
import logging, os, signal, sys, time
from pathlib import Path
from stream.processes.supervisor import Supervisor
from stream.processes.table import ProcessTable

folder, first_wait_s = Path(sys.argv[1]), float(sys.argv[2])
logging.basicConfig(level="INFO", format="%(message)s")
table = ProcessTable(2)
number = Supervisor(table, first_wait_s).run()

def end(signal_number, frame):
    (folder / f"drained-{number}").touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
starts = folder / f"starts-{number}"
with starts.open("a") as file:
    file.write(f"{os.getpid()}\\n")
start = len(starts.read_text().split())
eval(sys.argv[3 + number])
table.serve(number)
(folder / f"serves-{number}").write_text(f"{os.getpid()} {table.restarts(number)}")
while True:
    signal.pause()
"""


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


class Worker:
    """The program, with what its two processes have written."""

    def __init__(self, folder: Path, first: str = "None", second: str = "None", wait_s: float = 0.01) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(wait_s), first, second],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pids(self, number: int) -> list[int]:
        """Of all its starts."""
        path = self.folder / f"starts-{number}"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def serving(self, number: int) -> tuple[int, int] | None:
        """Pid and restarts of the process that serves, None before."""
        path = self.folder / f"serves-{number}"
        pid, _, restarts = (path.read_text() if path.exists() else "").partition(" ")
        return (int(pid), int(restarts)) if restarts else None

    def wait_until_both_serve(self) -> None:
        until(lambda: self.serving(0) is not None and self.serving(1) is not None, "both serve")

    def everyone(self) -> list[int]:
        """The pids of all processes that were ever started."""
        return [*self.pids(0), *self.pids(1)]

    def end(self) -> tuple[int, str]:
        """Its exit code and its log, once it ends."""
        _, log = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, log


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(first: str = "None", second: str = "None", wait_s: float = 0.01) -> Worker:
        made.append(Worker(tmp_path, first, second, wait_s))
        return made[-1]

    yield make
    for worker in made:
        worker.process.kill()
        worker.process.communicate()
        for pid in worker.everyone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_over_and_all_end_as_they_should(
    start: Callable[..., Worker], tmp_path: Path, number: signal.Signals
) -> None:
    worker = start()
    worker.wait_until_both_serve()
    worker.process.send_signal(number)
    code, log = worker.end()
    assert code == 0, log
    assert sorted(path.name for path in tmp_path.glob("drained-*")) == ["drained-0", "drained-1"]
    assert not any(map(runs, worker.everyone()))


def test_a_process_that_is_killed_is_started_again_and_counted_and_the_other_goes_on(
    start: Callable[..., Worker],
) -> None:
    worker = start()
    worker.wait_until_both_serve()
    (first, _), (other, _) = worker.serving(1) or (0, 0), worker.serving(0) or (0, 0)
    os.kill(first, signal.SIGKILL)
    until(lambda: (worker.serving(1) or (first, 0))[0] != first, "process 1 serves again")
    assert (worker.serving(1) or (0, 0))[1] == 1
    assert worker.pids(0) == [other] and runs(other)
    worker.process.terminate()
    code, log = worker.end()
    assert code == 0
    assert "process 1 ended with code -9 and is started again" in log


def test_no_process_outlives_a_supervisor_that_is_killed(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.wait_until_both_serve()
    worker.process.kill()
    until(lambda: not any(map(runs, worker.everyone())), "both processes end with their supervisor")


def test_a_process_whose_first_start_is_refused_ends_all_with_its_code(start: Callable[..., Worker]) -> None:
    worker = start("None", "sys.exit(2)")
    code, log = worker.end()
    assert code == 2
    assert "process 1 did not start (code 2)" in log
    assert len(worker.pids(1)) == 1
    assert not any(map(runs, worker.everyone()))


def test_a_start_that_fails_after_one_that_succeeded_is_tried_again_later_each_time(
    start: Callable[..., Worker],
) -> None:
    worker = start("None", "1 < start < 4 and sys.exit(2)")
    worker.wait_until_both_serve()
    first, _ = worker.serving(1) or (0, 0)
    os.kill(first, signal.SIGKILL)
    until(lambda: (worker.serving(1) or (first, 0))[0] != first, "process 1 serves again")
    assert (worker.serving(1) or (0, 0))[1] == 3
    worker.process.terminate()
    code, log = worker.end()
    assert code == 0
    assert log.count("ended with code 2 and is started again") == 2


def test_a_process_that_waits_to_be_started_again_does_not_hold_up_the_end(
    start: Callable[..., Worker],
) -> None:
    worker = start(wait_s=1e6)
    worker.wait_until_both_serve()
    os.kill((worker.serving(1) or (0, 0))[0], signal.SIGKILL)
    until(lambda: not runs(worker.pids(1)[0]), "process 1 has ended")
    worker.process.terminate()
    assert worker.end()[0] in (0, 137)
    assert len(worker.pids(1)) == 1


def test_a_process_that_cannot_finish_is_told_of_by_the_exit_code(start: Callable[..., Worker]) -> None:
    worker = start("signal.signal(signal.SIGTERM, lambda *_: os._exit(7))")
    worker.wait_until_both_serve()
    worker.process.terminate()
    code, log = worker.end()
    assert code == 7
    assert "process 0 ended with code 7 when it was told to stop" in log
