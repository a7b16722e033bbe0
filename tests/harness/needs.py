"""Starts what the chosen tests need, once they are collected: a broker, Debian's programs.

A mark says what a test needs (pyproject.toml lists the marks). `./tests/run` names a folder in
NEXTCLICK_TEST_DIR; the first process of the run that finds a mark among its tests starts the broker
there, or installs the package, under a lock, and the others find it. Without that folder nothing is
started: then NEXTCLICK_TEST_KAFKA names a broker, and programs are expected on the PATH.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER_VARIABLE = "NEXTCLICK_TEST_DIR"
KAFKA_VARIABLE = "NEXTCLICK_TEST_KAFKA"
# Mark → PROGRAM=PACKAGE of Debian, as deploy/debian.sh takes them.
PROGRAMS = {
    "prometheus": (
        "prometheus=prometheus",
        "promtool=prometheus",
        "amtool=prometheus-alertmanager",
    ),
    "chromium": ("chromium=chromium",),
    "wget": ("wget=wget",),
    "redis": ("redis-server=redis-server",),
    "nginx": ("nginx=nginx",),
}


class CannotStart(Exception):
    """A broker or a package that the chosen tests need is not to be had; the text says why."""


def start_what_is_needed(marks: Iterable[str]) -> None:
    """Start the broker and install the programs that tests with these marks need.

    Sets NEXTCLICK_TEST_KAFKA for this process. Raises CannotStart.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    needed = set(marks)
    programs = [program for mark in sorted(needed & PROGRAMS.keys()) for program in PROGRAMS[mark]]
    wants_kafka = "kafka" in needed and not os.environ.get(KAFKA_VARIABLE)
    if not folder or not (programs or wants_kafka):
        return
    with (Path(folder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if programs:
            _run(["bash", "-euc", '. deploy/debian.sh; debian_programs "$@"', "bash", *programs])
        if wants_kafka:
            # Does nothing but print the address where the broker runs already.
            os.environ[KAFKA_VARIABLE] = _run(["deploy/kafka.sh", "start", "--dir", f"{folder}/kafka"])


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CannotStart(ended.stderr.strip())
    return ended.stdout.strip()
