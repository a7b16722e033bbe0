"""A service of the command line ends in peace by SIGTERM or Ctrl-C: what it has begun, it finishes.

Tested by tests/faults/test_archive.py.
"""

from __future__ import annotations

import signal
import threading


def stopping_by_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
