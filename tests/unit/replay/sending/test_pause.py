"""A replay and the terminal that it is run from: keys in the foreground, and no stop in the background."""

from __future__ import annotations

import os
import pty
import signal
import sys

import pytest

from replay.sending.pause import PauseKeys, pause_keys

# In a session with a terminal of its own: a job in the background, as a shell makes one with &.
BACKGROUND = """
import os, signal, sys
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    from replay.sending.pause import pause_keys
    with pause_keys() as keys:
        keys.poll_keys()
    os._exit(7)
pid, status = os.waitpid(job, os.WUNTRACED)
if os.WIFSTOPPED(status):
    os.kill(job, signal.SIGKILL)
    sys.exit(f"stopped by {signal.Signals(os.WSTOPSIG(status)).name}")
print("ended with", os.WEXITSTATUS(status), flush=True)
"""


def test_sigusr1_pauses_and_lets_go_on_and_is_given_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pause_keys() as keys:
        for paused in (True, False):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert keys.poll_keys() == paused
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_keys_of_a_terminal_pause_too() -> None:
    terminal, person = os.openpty()
    try:
        keys = PauseKeys(terminal)
        os.write(person, b"x\n")
        assert not keys.poll_keys()
        os.write(person, b" ")
        os.write(person, b"\n")
        assert keys.poll_keys()
    finally:
        os.close(terminal)
        os.close(person)


def test_a_replay_in_the_background_of_its_terminal_is_not_stopped() -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", BACKGROUND])
    said = b""
    try:
        while part := os.read(terminal, 1024):
            said += part
    except OSError:
        # Linux says so that nobody has the terminal any more.
        pass
    finally:
        os.waitpid(process, 0)
        os.close(terminal)
    assert b"ended with 7" in said, said


@pytest.mark.parametrize("keys", [b"x", b"pp"])
def test_other_keys_and_two_pauses_change_nothing(keys: bytes) -> None:
    terminal, person = os.openpty()
    try:
        os.write(person, keys + b"\n")
        assert not PauseKeys(terminal).poll_keys()
    finally:
        os.close(terminal)
        os.close(person)
