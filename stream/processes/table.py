"""What the supervisor and its processes know of each other: a few numbers each, in memory that they share.

Tested by tests/unit/stream/processes/test_supervisor.py.
"""

from __future__ import annotations

import mmap

FIELDS = PID, SERVES, RESTARTS = range(3)
BYTES = 8


class ProcessTable:
    """A row for each process. Made before the processes are; each number is written by one of them.

    >>> table = ProcessTable(2)
    >>> table.begin(1, 4711), table.pid(1), table.restarts(1)
    (None, 4711, 0)
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        # Anonymous and shared: a child that is forked sees it, and no file stays.
        self._numbers = memoryview(mmap.mmap(-1, processes * len(FIELDS) * BYTES)).cast("q")

    def begin(self, number: int, pid: int) -> None:
        """A process has been started, or started again."""
        self._set(number, PID, pid)

    def end(self, number: int) -> None:
        """A process has ended."""
        self._set(number, PID, 0)
        self._set(number, SERVES, 0)

    def add_restart(self, number: int) -> None:
        """A process is started again."""
        self._set(number, RESTARTS, self.restarts(number) + 1)

    def serve(self, number: int) -> None:
        """Called in the process: its start has succeeded."""
        self._set(number, SERVES, 1)

    def pid(self, number: int) -> int:
        """Its process id, 0 while none runs."""
        return self._numbers[number * len(FIELDS) + PID]

    def serves(self, number: int) -> bool:
        """Whether its start has succeeded and it has not ended since."""
        return bool(self._numbers[number * len(FIELDS) + SERVES])

    def restarts(self, number: int) -> int:
        """How many times it was started again."""
        return self._numbers[number * len(FIELDS) + RESTARTS]

    def _set(self, number: int, field: int, value: int) -> None:
        self._numbers[number * len(FIELDS) + field] = value
