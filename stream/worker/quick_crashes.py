"""Crashes soon after a start: from the third on, the worker stays out of its group for a while.

The group keeps the partitions of a static member for it, and each start renews that. A worker that ends soon
after every start (its disk is full, its id is another's too) would keep them and serve none. Times of
crashes are kept in the state folder, in a file that has its room before anything can fill the disk.

Tested by tests/unit/stream/worker/test_quick_crashes.py.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from model.errors import NextclickError
from stream.logs import happening
from stream.settings import Settings

FILE = "crashes"
# A run that has lasted longer has served: its crash is the first one again.
QUICK_S = 120.0
REMEMBERED_S = 1_800.0
ENOUGH = 3
MOST_KEPT = 8
MOST_WAIT_S = 300.0
SIZE = 256
logger = logging.getLogger(__name__)


class QuickCrashes:
    """The newest quick crashes of the worker whose state is in `folder`."""

    def __init__(
        self,
        folder: Path,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()

    @property
    def path(self) -> Path:
        """The file that has them."""
        return self._folder / FILE

    def times_s(self) -> list[float]:
        """When the worker crashed soon after a start, epoch; without what is old, or what cannot be read."""
        try:
            found = json.loads(self.path.read_bytes())
            times_s = [float(time_s) for time_s in found]
        except (OSError, ValueError, TypeError):
            return []
        now_s = self._wall_s()
        return [time_s for time_s in times_s if now_s - REMEMBERED_S < time_s <= now_s]

    def wait_s(self, session_timeout_s: float) -> float:
        """For how long to stay out of the group: until it has given the partitions away, twice that, ..."""
        crashes = len(self.times_s())
        if crashes < ENOUGH:
            return 0.0
        return float(min(session_timeout_s * 2 ** (crashes - ENOUGH), max(MOST_WAIT_S, session_timeout_s)))

    def begin(self) -> None:
        """Begin a run: make room for the record of its crash. Raises NextclickError where there is none."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(self.times_s())
        except OSError as error:
            raise NextclickError(
                f"the state folder {self._folder} cannot be written: {error}",
                "Nothing was consumed, and the worker has not joined its group, which gives its partitions "
                "to other workers after session_timeout_ms.",
                "Make room, or look at the folder's rights; then start it again.",
            ) from None
        self._began_s = self._monotonic_s()

    def add(self) -> None:
        """Note that the run crashes now. A failure is logged: the process ends anyway."""
        is_quick = self._monotonic_s() - self._began_s < QUICK_S
        try:
            self._write([*self.times_s(), self._wall_s()] if is_quick else [])
        except OSError as error:
            logger.info("the crash is not noted: %s", error, extra=happening("crash_not_noted"))

    def clear(self) -> None:
        """Forget them all: the run has ended as it should."""
        try:
            self._write([])
        except OSError as error:
            logger.info("crashes are not forgotten: %s", error, extra=happening("crashes_kept"))

    def _write(self, times_s: list[float]) -> None:
        # Over what is there: its blocks are the file's own, on a full disk too.
        text = json.dumps([int(time_s) for time_s in times_s[-MOST_KEPT:]]).ljust(SIZE)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, text.encode(), 0)
            os.fsync(file)
        finally:
            os.close(file)


_of_this_process: list[QuickCrashes] = []


def stay_out_after_crashes(settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
    """Begin a run; after quick crashes, wait first until the group has given the partitions to others.

    Raises NextclickError when the state folder cannot be written.
    """
    crashes = QuickCrashes(settings.state_dir)
    wait_s = crashes.wait_s(settings.session_timeout_ms / 1000)
    if wait_s:
        logger.warning(
            "the worker has crashed %d times soon after its start; it stays out of its group for %.0f s, so "
            "that others take its partitions over (without %s it would not)",
            len(crashes.times_s()),
            wait_s,
            crashes.path,
            extra=happening("stays_out", crashes=len(crashes.times_s()), wait_s=wait_s),
        )
        sleep(wait_s)
    crashes.begin()
    _of_this_process[:] = [crashes]


def note_crash() -> None:
    """Note a crash of this process, if its run has begun."""
    for crashes in _of_this_process:
        crashes.add()


def forget_crashes() -> None:
    """Forget the crashes before a run that has ended as it should."""
    for crashes in _of_this_process:
        crashes.clear()
