import sys
import threading
from collections.abc import Generator

import pytest

from replay.sending.prefetch_thread import prefetch_in_thread


def test_items_come_in_order_and_no_more_are_made_than_may_lie_ahead() -> None:
    made: list[int] = []
    waits = threading.Event()

    def items() -> Generator[int, None, None]:
        for number in range(100):
            made.append(number)
            if number == 4:
                waits.set()
            yield number

    with prefetch_in_thread(items(), 3) as taken:
        # One is handed over, three lie in the queue, and one waits for room.
        assert next(taken) == 0
        assert waits.wait(120)
        assert len(made) <= 6
        assert list(taken) == list(range(1, 100))


def test_what_is_raised_comes_where_its_item_would_have_come() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise OSError("the disk is gone")

    with prefetch_in_thread(items(), 3) as taken:
        assert next(taken) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            next(taken)


def test_whoever_stops_early_leaves_no_thread_behind_and_what_was_open_is_closed() -> None:
    closed, before = threading.Event(), threading.active_count()
    interval_s = sys.getswitchinterval()

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with pytest.raises(KeyError), prefetch_in_thread(items(), 2) as taken:
        next(taken)
        raise KeyError
    assert closed.is_set()
    assert threading.active_count() == before
    assert sys.getswitchinterval() == interval_s
