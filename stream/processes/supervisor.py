"""The process that a worker of several processes is started as: it keeps the others running.

It loads the libraries once and forks: the processes share that memory, and one that starts again needs not
load them. A process that crashes is started again, later each time; one whose first start is refused ends
all, as it would end alone. SIGTERM and SIGINT are handed over, and the exit code tells of the processes'.
Where it is killed itself, the kernel kills the processes: none stays with a store that the next one needs.

Tested by tests/unit/stream/processes/test_supervisor.py and tests/faults/test_processes.py.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from model.errors import NextclickError
from stream.logs import happening
from stream.processes.table import ProcessTable

SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 60.0
# After a run of this length a crash is the first one again.
STEADY_S = 120.0
PR_SET_PDEATHSIG = 1
SIGNALLED = 128
logger = logging.getLogger(__name__)


@dataclass
class _Child:
    """One process: when it was started, its crashes since it was steady, when it is due to start again."""

    started_s: float = 0.0
    crashes: int = 0
    due_s: float | None = None
    # Whether one of its starts has ever succeeded.
    has_served: bool = False


@dataclass
class Supervisor:
    """Keeps the processes of `table` running until it is told to stop, or one's first start is refused."""

    table: ProcessTable
    first_wait_s: float = FIRST_WAIT_S
    clock_s: Callable[[], float] = time.monotonic
    _children: list[_Child] = field(init=False)
    _stopping: bool = False
    _code: int = 0

    def __post_init__(self) -> None:
        self._children = [_Child() for _ in range(self.table.processes)]

    def run(self) -> int:
        """Start the processes. Returns in each of them, its number; ends the supervisor by SystemExit."""
        if not hasattr(signal, "sigtimedwait") or not sys.platform.startswith("linux"):
            raise NextclickError(
                f"several processes need Linux, this is {sys.platform}",
                "Nothing was started: elsewhere a killed supervisor would leave its processes behind.",
                "Start one worker for each, with --worker-id, --state-dir and --web-port of its own.",
            )
        # Its pages stay shared: the collector of a process would write to them.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in range(self.table.processes):
            if self._begin(number):
                return number
        while self._runs():
            received = signal.sigtimedwait(SIGNALS, self._wait_s())
            if received is not None and received.si_signo != signal.SIGCHLD:
                logger.info(
                    "%s: the processes finish what they have begun, then all ends",
                    signal.Signals(received.si_signo).name,
                    extra=happening("processes_stop", signal=received.si_signo),
                )
                self._stop()
            self._reap()
            for number, child in enumerate(self._children):
                if child.due_s is not None and child.due_s <= self.clock_s():
                    try:
                        is_child = self._begin(number)
                    except OSError as error:
                        # The others serve on.
                        child.due_s = self.clock_s() + MOST_WAIT_S
                        logger.error(
                            "process %d cannot be started: %s; tried again in %d s",
                            number,
                            error,
                            MOST_WAIT_S,
                            extra=happening("process_not_forked", process=number, error=str(error)),
                        )
                        continue
                    if is_child:
                        return number
                    self.table.add_restart(number)
        sys.exit(self._code)

    def _begin(self, number: int) -> bool:
        """Fork a process. Returns whether this is the one."""
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor, pid = os.getpid(), os.fork()
        if not pid:
            _end_with(supervisor)
            # Ctrl-C is for the supervisor, which hands it over.
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            return True
        child = self._children[number]
        child.started_s, child.due_s = self.clock_s(), None
        self.table.begin(number, pid)
        logger.info(
            "process %d started, pid %d",
            number,
            pid,
            extra=happening("process_started", process=number, pid=pid),
        )
        return False

    def _runs(self) -> bool:
        """Whether a process runs, or is going to."""
        return any(
            self.table.pid(number) or child.due_s is not None for number, child in enumerate(self._children)
        )

    def _wait_s(self) -> float:
        """Until the next process is due."""
        due_s = [child.due_s for child in self._children if child.due_s is not None]
        return max(0.0, min(due_s) - self.clock_s()) if due_s else MOST_WAIT_S

    def _stop(self) -> None:
        """Hand SIGTERM over to all, and start none again."""
        self._stopping = True
        for number, child in enumerate(self._children):
            child.due_s = None
            if pid := self.table.pid(number):
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Take note of every process that has ended."""
        for number, child in enumerate(self._children):
            pid = self.table.pid(number)
            if not pid:
                continue
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                child.has_served |= self.table.serves(number)
                self.table.end(number)
                self._ended(number, child, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, child: _Child, code: int) -> None:
        """Decide what follows from the end of a process."""
        if self._stopping:
            # Before it handles signals it has begun nothing: that is an end as it should be.
            if code not in (0, -signal.SIGTERM):
                logger.error(
                    "process %d ended with code %d when it was told to stop",
                    number,
                    code,
                    extra=happening("process_failed_to_stop", process=number, code=code),
                )
                self._code = self._code or _exit_code(code)
            return
        if code and not child.has_served:
            logger.error(
                "process %d did not start (code %d), so that all end",
                number,
                code,
                extra=happening("process_not_started", process=number, code=code),
            )
            self._code = _exit_code(code)
            self._stop()
            return
        was_steady = self.clock_s() - child.started_s >= STEADY_S
        child.crashes = 1 if was_steady else child.crashes + 1
        wait_s = min(MOST_WAIT_S, self.first_wait_s * 2 ** (child.crashes - 1))
        child.due_s = self.clock_s() + wait_s
        logger.error(
            "process %d ended with code %d and is started again in %.0f s; the others go on",
            number,
            code,
            wait_s,
            extra=happening("process_ended", process=number, code=code, wait_s=wait_s),
        )


def _exit_code(code: int) -> int:
    """The exit code of a shell for the end of a process.

    >>> _exit_code(2), _exit_code(-9)
    (2, 137)
    """
    return code if code > 0 else SIGNALLED - code


def _end_with(supervisor: int) -> None:
    """Let the kernel kill this process when the supervisor ends, however it does."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        # It ended before the kernel knew.
        os.kill(os.getpid(), signal.SIGKILL)
