"""Items made in a process of their own: whoever reads a log and whoever sends it share no interpreter's lock.

The process is forked from this one, so that it begins with all that is loaded here. It makes what
comes next while the last items are worked on, and waits when they are not taken. Where processes are
not forked without harm (macOS's own libraries do not bear it) items are made in a thread.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from model.errors import NextclickError
from replay.sending.prefetch_thread import ahead

T = TypeVar("T")
FIRST_FILE = 3
# Of sys/prctl.h.
PR_SET_PDEATHSIG = 1
# Of malloc.h: from which size on a block is one of the kernel's own, and how much free memory is kept.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_BLOCK_BYTES, KEPT_BYTES = 64 << 20, 128 << 20
# The most that a user may ask for, unless the system is set up otherwise.
PIPE_BYTES = 1 << 20
ITEM, CALL, ERROR, END = "item", "call", "error", "end"


class ReaderProcess:
    """Makes items apart, and does here what has to be done here while they are made."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., None]] = []
        self._telling: Connection | None = None

    def here(self, function: Callable[..., None]) -> Callable[..., None]:
        """`function` for those who make items: it is called in this process, in its turn, by a thread."""
        number = len(self._functions)
        self._functions.append(function)

        def call(*arguments: Any) -> None:
            if self._telling is None:
                function(*arguments)
            else:
                self._telling.send((CALL, (number, arguments)))

        return call

    @contextmanager
    def made(self, items: Generator[T, None, None]) -> Iterator[Iterator[T]]:
        """The items, which must pickle, each made a little before it is asked for.

        A NextclickError is raised where its item would have come, and so is one that says so when the
        process has died. In the end the process is gone, and `items` is closed in it.
        """
        if sys.platform != "linux":
            with ahead(items) as threaded:
                yield threaded
            return
        context = get_context("fork")
        taking, telling = context.Pipe(duplex=False)
        # With 64 KB, as it comes, the two wait for one another thirty times a piece.
        with suppress(OSError):
            fcntl.fcntl(telling.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        process = context.Process(
            target=self._make, args=(items, telling, os.getpid()), name="reading", daemon=True
        )
        process.start()
        telling.close()

        def taken() -> Generator[T, None, None]:
            while True:
                try:
                    kind, what = taking.recv()
                except (EOFError, OSError):
                    # At the end of a message or within it.
                    process.join()
                    raise NextclickError(
                        f"the process that reads the log ended with code {process.exitcode}",
                        "What stood behind the last event sent is not sent.",
                        "If it was killed for want of memory (code -9), lower --memory. Replay again.",
                    ) from None
                if kind == ITEM:
                    yield what
                elif kind == CALL:
                    number, arguments = what
                    self._functions[number](*arguments)
                elif kind == ERROR:
                    raise what
                else:
                    return

        try:
            with ahead(taken()) as received:
                try:
                    yield received
                finally:
                    # Whoever waits for its next item hears that there is none.
                    process.terminate()
        finally:
            taking.close()
            process.join()
            process.close()

    def _make(self, items: Generator[T, None, None], telling: Connection, parent: int) -> None:
        """What the process does. It never returns into the program that it was forked from."""
        code = 1
        try:
            # What was there before the fork is not looked through for garbage, and so stays shared.
            gc.freeze()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _leave)
            _end_with(parent)
            _close_files_but(telling.fileno())
            # A thread of the parent's may have held what stood in their place.
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
            _keep_freed_memory()
            self._telling = telling
            self._tell(items, telling)
            code = 0
        finally:
            os._exit(code)

    def _tell(self, items: Generator[T, None, None], telling: Connection) -> None:
        try:
            with closing(items):
                for item in items:
                    telling.send((ITEM, item))
            telling.send((END, None))
        except NextclickError as error:
            telling.send((ERROR, error))
        except Exception as error:  # noqa: BLE001 - raised by whoever asks for the item
            # Where nobody takes the items any more, there is nobody to tell.
            if not isinstance(error, BrokenPipeError):
                telling.send((ERROR, RuntimeError(traceback.format_exc())))


def _leave(number: int, frame: object) -> None:
    raise SystemExit


def _end_with(parent: int) -> None:
    """Have the kernel tell this process when its parent has died, however that came."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit


def _close_files_but(kept: int) -> None:
    """Give up the connections and locks of the process that this one was forked from: they are its own."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if FIRST_FILE <= number != kept:
            # The one by which they were listed is closed already.
            with suppress(OSError):
                os.close(number)


def _keep_freed_memory() -> None:
    """Blocks of a log come and go by the megabyte: between them nothing is given back to the kernel.

    A tenth of the reading's time otherwise. glibc's malloc has the setting, others do not.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
