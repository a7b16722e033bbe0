"""Work done a little ahead, in a thread of its own: what is sent in time need not wait for what is read."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")
DEPTH = 4
LOOK_EVERY_S = 0.1
# At the default of 5 ms the thread that is behind would hold up the one that is in time.
GIL_SWITCH_S = 0.0005


@contextmanager
def ahead(items: Generator[T, None, None], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """The items, of which up to `depth` are made before they are asked for.

    What `items` raises is raised where its item would have come. In the end the thread is gone, and
    `items` is closed in it.
    """
    made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stopping = threading.Event()

    def hand_over(entry: tuple[T] | BaseException | None) -> None:
        while not stopping.is_set():
            try:
                made.put(entry, timeout=LOOK_EVERY_S)
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
        except BaseException as error:  # noqa: BLE001 - raised by whoever asks for the item
            hand_over(error)
        else:
            hand_over(None)

    def taken() -> Iterator[T]:
        while (entry := made.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(min(before_s, GIL_SWITCH_S))
    thread.start()
    try:
        yield taken()
    finally:
        stopping.set()
        thread.join()
        sys.setswitchinterval(before_s)
