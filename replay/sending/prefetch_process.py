"""Items made ahead of their consumer in a process, so that reader and sender share no interpreter lock.

The process is forked from this one, so that it starts with everything loaded here. It makes the next
items while the consumer works on the last ones, and waits while the pipe is full. Where forking is not
safe (the system libraries of macOS do not support it) a thread makes the items.
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
from replay.sending.prefetch_thread import prefetch_in_thread

T = TypeVar("T")
FIRST_FILE = 3
# Of sys/prctl.h.
PR_SET_PDEATHSIG = 1
# Of malloc.h: the size from which a block is mapped from the kernel, and how much free memory is kept.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_BLOCK_BYTES, KEPT_BYTES = 64 << 20, 128 << 20
# The largest pipe that a user may ask for by default.
PIPE_BYTES = 1 << 20
ITEM, CALL, ERROR, END = "item", "call", "error", "end"


class ReaderProcess:
    """Makes items in a forked process; functions wrapped by `in_parent` still run in this one."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., None]] = []
        self._sender: Connection | None = None

    def in_parent(self, function: Callable[..., None]) -> Callable[..., None]:
        """A wrapper that code in the reader calls: `function` runs in this process, in order, in a thread."""
        number = len(self._functions)
        self._functions.append(function)

        def call(*arguments: Any) -> None:
            if self._sender is None:
                function(*arguments)
            else:
                self._sender.send((CALL, (number, arguments)))

        return call

    @contextmanager
    def prefetch(self, items: Generator[T, None, None]) -> Iterator[Iterator[T]]:
        """The items, which must pickle, made before they are asked for.

        A NextclickError of `items` is raised in place of its item; another one is raised when the
        process dies. At the end `items` is closed in the process, and the process has ended.
        """
        if sys.platform != "linux":
            with prefetch_in_thread(items) as threaded:
                yield threaded
            return
        context = get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        # With the default of 64 KB the two processes would wait for each other thirty times a piece.
        with suppress(OSError):
            fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        process = context.Process(
            target=self._make, args=(items, sender, os.getpid()), name="reading", daemon=True
        )
        process.start()
        sender.close()

        def received() -> Generator[T, None, None]:
            while True:
                try:
                    kind, content = receiver.recv()
                except (EOFError, OSError):
                    # The process ended between two messages or within one.
                    process.join()
                    raise NextclickError(
                        f"the process that reads the log ended with code {process.exitcode}",
                        "What stood behind the last event sent is not sent.",
                        "If it was killed for want of memory (code -9), lower --memory. Replay again.",
                    ) from None
                if kind == ITEM:
                    yield content
                elif kind == CALL:
                    number, arguments = content
                    self._functions[number](*arguments)
                elif kind == ERROR:
                    raise content
                else:
                    return

        try:
            with prefetch_in_thread(received()) as ahead:
                try:
                    yield ahead
                finally:
                    # A thread that waits for the next item is told that none comes.
                    process.terminate()
        finally:
            receiver.close()
            process.join()
            process.close()

    def _make(self, items: Generator[T, None, None], sender: Connection, parent: int) -> None:
        """The body of the process; it never returns into the program that it was forked from."""
        code = 1
        try:
            # Without collections of objects from before the fork, their memory stays shared.
            gc.freeze()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _leave)
            _end_with_parent(parent)
            _close_files_except(sender.fileno())
            # A thread of the parent may have held the lock of a replaced stream.
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
            _keep_freed_memory()
            self._sender = sender
            self._send_items(items, sender)
            code = 0
        finally:
            os._exit(code)

    def _send_items(self, items: Generator[T, None, None], sender: Connection) -> None:
        try:
            with closing(items):
                for item in items:
                    sender.send((ITEM, item))
            sender.send((END, None))
        except NextclickError as error:
            sender.send((ERROR, error))
        except Exception as error:  # noqa: BLE001 - raised again in the consumer
            # When the consumer is gone, there is no place to report the error.
            if not isinstance(error, BrokenPipeError):
                sender.send((ERROR, RuntimeError(traceback.format_exc())))


def _leave(number: int, frame: object) -> None:
    raise SystemExit


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies for any reason."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit


def _close_files_except(kept: int) -> None:
    """Close the connections and locks of the parent process, which belong to it."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if FIRST_FILE <= number != kept:
            # The descriptor of the listing itself is closed already.
            with suppress(OSError):
                os.close(number)


def _keep_freed_memory() -> None:
    """Keep freed memory instead of returning it to the kernel between blocks of a log, megabytes each.

    Returning it takes a tenth of the reading time. Only glibc's malloc has the setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
