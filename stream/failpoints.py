"""Points at which a test kills a process; without NEXTCLICK_FAULT they do nothing.

NEXTCLICK_FAULT=POINT:N kills the process (SIGKILL) when it reaches POINT for the N-th time.
The number in a name is the order in a wave, or in a part of an archive; the points of a
retraining are listed in order.

Tested by tests/faults/test_kills.py, test_archive.py, test_ingest.py,
test_outcomes.py and test_retrain.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "NEXTCLICK_FAULT"
POINTS = (
    "1-decoded",
    "2-cut",
    "3-loaded",
    "4-ruled",
    "5-rebuilt",
    "6-scored",
    "7-stepped",
    "8-produced",
    "8-acknowledged",
    "9-written",
    "9-committed",
)
RETRAIN_POINTS = (
    "retrain-locked",
    "retrain-read",
    "retrain-split",
    "retrain-trained",
    "retrain-evaluated",
    "retrain-finished",
    "retrain-accepted",
    "retrain-saved",
    "retrain-promoted",
    "retrain-announced",
    "retrain-reported",
)
ARCHIVE_POINTS = (
    "archive-1-buffered",
    "archive-2-written",
    "archive-3-durable",
    "archive-4-named",
    "archive-5-committed",
)

INGEST_POINTS = ("ingest-1-produced", "ingest-2-offsets-sent", "ingest-3-committed")
OUTCOMES_POINTS = ("outcomes-1-produced", "outcomes-2-offsets-sent", "outcomes-3-committed")


def armed(specification: str | None) -> Callable[[str], None]:
    """Returns the function to call at each point. Raises ValueError on an unknown point.

    >>> armed(None)("9-written")
    """
    if specification is None:
        return lambda point: None
    chosen, _, count = specification.partition(":")
    points = (*POINTS, *ARCHIVE_POINTS, *INGEST_POINTS, *OUTCOMES_POINTS, *RETRAIN_POINTS)
    if chosen not in points:
        raise ValueError(f"{VARIABLE}={specification!r}: the points are {', '.join(points)}")
    remaining = int(count or 1)

    def count_down(point: str) -> None:
        nonlocal remaining
        if point == chosen:
            remaining -= 1
            # Not `== 0`: two threads may count at once and step over it.
            if remaining <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return count_down


reach = armed(os.environ.get(VARIABLE))
