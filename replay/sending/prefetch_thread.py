"""Items made ahead of their consumer in a thread, so that sending on time does not wait for reading."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")
DEPTH = 4
CHECK_EVERY_S = 0.1
# With the default of 5 ms the reading thread would delay the sending one.
GIL_SWITCH_S = 0.0005


@contextmanager
def prefetch_in_thread(items: Generator[T, None, None], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """The items, up to `depth` of them made before they are asked for.

    An exception of `items` is raised in place of its item. At the end `items` is closed in the thread,
    and the thread has ended.

    >>> with prefetch_in_thread(number * number for number in range(3)) as squares:
    ...     list(squares)
    [0, 1, 4]
    """
    made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stopping = threading.Event()

    def hand_over(entry: tuple[T] | BaseException | None) -> None:
        while not stopping.is_set():
            try:
                made.put(entry, timeout=CHECK_EVERY_S)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            with closing(items):
                for item in items:
                    hand_over((item,))
                    if stopping.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer
            hand_over(error)
        else:
            hand_over(None)

    def received() -> Iterator[T]:
        while (entry := made.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(min(before_s, GIL_SWITCH_S))
    thread.start()
    try:
        yield received()
    finally:
        stopping.set()
        thread.join()
        sys.setswitchinterval(before_s)
