"""Pause and resume, by signal or by key.

SIGUSR1 pauses a replay and, sent again, lets it go on; so do the space bar and p where the replay has
a terminal. Deliveries go on during a pause, and what was due in it is due that much later. Ctrl-Z and
SIGCONT stop the whole process instead: the replay catches up afterwards.
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

PAUSE_KEYS = b" p"


class Controls:
    """Whether a replay is paused. `look` takes the keys that were pressed since."""

    def __init__(self, terminal: int | None = None) -> None:
        self._terminal = terminal
        self.paused = False

    def toggle(self) -> None:
        """Pause, or go on."""
        self.paused = not self.paused

    def look(self) -> bool:
        """Whether the replay is paused now."""
        while (
            self._terminal is not None
            and is_ours(self._terminal)
            and select.select([self._terminal], [], [], 0)[0]
        ):
            pressed = os.read(self._terminal, 64)
            if not pressed:
                self._terminal = None
            if sum(key in PAUSE_KEYS for key in pressed) % 2:
                self.toggle()
        return self.paused


def is_ours(terminal: int) -> bool:
    """Whether this process is in the foreground of its terminal: in the background using it would stop it."""
    try:
        return os.tcgetpgrp(terminal) in (0, os.getpgrp())
    except OSError:
        # Not the one that this process is run from: nobody stops it.
        return True


@contextmanager
def controls() -> Iterator[Controls]:
    """Listen to SIGUSR1, and to the keys of the terminal if there is one; both are given back at the end."""
    terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    found = Controls(terminal)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: found.toggle())
    attributes = None if terminal is None else termios.tcgetattr(terminal)
    try:
        if terminal is not None and is_ours(terminal):
            tty.setcbreak(terminal)
        yield found
    finally:
        signal.signal(signal.SIGUSR1, before)
        # Whoever is in the foreground meanwhile has set it as they need it.
        if terminal is not None and attributes is not None and is_ours(terminal):
            termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
