"""Pause and resume a replay, by signal or by key.

SIGUSR1 pauses a replay and, sent again, resumes it; so do the space bar and p when the replay has a
terminal. Delivery reports are still read during a pause, and everything due is postponed by its length.
Ctrl-Z and SIGCONT stop the whole process instead: the replay catches up afterwards.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

KEYS = b" p"


class PauseKeys:
    """Whether a replay is paused; `poll_keys` reads the keys pressed on the terminal, if there is one.

    >>> keys = PauseKeys()
    >>> keys.toggle()
    >>> keys.poll_keys()
    True
    """

    def __init__(self, terminal: int | None = None) -> None:
        self._terminal = terminal
        self.paused = False

    def toggle(self) -> None:
        """Pause, or resume."""
        self.paused = not self.paused

    def poll_keys(self) -> bool:
        """Read the keys pressed since the last call. Returns whether the replay is paused now."""
        while (
            self._terminal is not None
            and in_foreground(self._terminal)
            and select.select([self._terminal], [], [], 0)[0]
        ):
            pressed = os.read(self._terminal, 64)
            if not pressed:
                self._terminal = None
            if sum(key in KEYS for key in pressed) % 2:
                self.toggle()
        return self.paused


def in_foreground(terminal: int) -> bool:
    """Whether this process is in the terminal's foreground: in the background, using it stops the process."""
    try:
        return os.tcgetpgrp(terminal) in (0, os.getpgrp())
    except OSError:
        # It is not the terminal this process runs on, so that using it stops nothing.
        return True


@contextmanager
def pause_keys() -> Iterator[PauseKeys]:
    """Listen to SIGUSR1, and to the keys of the terminal if there is one; restore both at the end."""
    terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    keys = PauseKeys(terminal)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: keys.toggle())
    attributes = None if terminal is None else termios.tcgetattr(terminal)
    try:
        if terminal is not None and in_foreground(terminal):
            tty.setcbreak(terminal)
        yield keys
    finally:
        signal.signal(signal.SIGUSR1, before)
        # In the background, another process may have set the terminal up for itself.
        if terminal is not None and attributes is not None and in_foreground(terminal):
            termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
