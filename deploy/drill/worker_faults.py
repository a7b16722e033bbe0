"""Faults of workers: one is killed, one is paused, one dies again and again, all are away."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.drill.disks import small_disk
from deploy.drill.fault import Fault, Step, nothing_heals
from deploy.drill.stage import Stage

# A supervisor's wait between a death and the next start, as systemd's RestartSec here and there.
RESTART_S = 2.0
# Longer than the session timeout as shipped, by the time in which others take partitions over.
KILL_GAP_S = 20.0


@contextmanager
def killed(stage: Stage) -> Iterator[Step]:
    """SIGKILL; it stays away until its alert fires."""
    stage.held.add("b")
    stage.group.kill("b")
    yield nothing_heals


@contextmanager
def paused(stage: Stage) -> Iterator[Step]:
    """SIGSTOP for a while; then it notices that others have its partitions, and ends, and stays away."""
    stage.held.add("b")
    process = stage.group.workers["b"].process
    process.send_signal(signal.SIGSTOP)
    until_s = time.monotonic() + stage.pause_s

    def go_on() -> bool:
        if time.monotonic() >= until_s:
            process.send_signal(signal.SIGCONT)
        return False

    try:
        yield go_on
        while time.monotonic() < until_s:
            time.sleep(RESTART_S)
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def crash_loop(stage: Stage) -> Iterator[Step]:
    """Its state folder is on a disk of a megabyte; a supervisor starts it again whenever it ends."""
    stage.held.add("b")
    stage.group.kill("b")
    folder = stage.group.settings_of("b").state_dir
    aside = folder.with_name("b-before")
    with small_disk(folder, aside):
        again_s = time.monotonic()

        def start_again() -> bool:
            nonlocal again_s
            if stage.group.workers["b"].process.poll() is None:
                again_s = time.monotonic() + RESTART_S
            elif time.monotonic() >= again_s:
                stage.group.start("b")
            return False

        stage.strike()
        yield start_again
        stage.group.kill("b")


@contextmanager
def all_away(stage: Stage) -> Iterator[Step]:
    """SIGTERM for all."""
    stage.held.update(("a", "b"))
    stage.group.stop()
    yield nothing_heals


# The crash loop first: a restart of another fault would count as one of its deaths.
WORKER_FAULTS = [
    Fault(
        "crash-loop",
        "full state disk, restarts without end",
        ("NextclickWorkerCrashLoop", "NextclickWorkerDown"),
        120,
        crash_loop,
    ),
    Fault(
        "pause", "SIGSTOP of a worker for 60 s", ("NextclickWorkerDown",), 120, paused, gap_limit_s=KILL_GAP_S
    ),
    Fault("kill", "SIGKILL of a worker", ("NextclickWorkerDown",), 120, killed, gap_limit_s=KILL_GAP_S),
    Fault("away", "all workers away", ("NextclickPartitionsUnserved",), 120, all_away),
]
