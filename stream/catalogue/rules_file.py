"""Follows the file of rules: a new version holds without a restart, a bad one is refused.

The file is looked at once a second, so that it may be replaced in any way, a ConfigMap's links included.
Tested by tests/unit/stream/catalogue/test_rules_file.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from model.errors import NextclickError
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.rules import read_rules
from stream.logs import happening

LOOK_EVERY_S = 1.0
logger = logging.getLogger(__name__)


class RulesFile:
    """The file at `path`, and the catalogue that follows it."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self._path, self._catalogue = path, catalogue
        self._seen: bytes | None = None
        self._stopping = threading.Event()

    def load(self) -> None:
        """Follow the file as it is now. Raises NextclickError with every problem of it."""
        self._catalogue.set_rules(read_rules(self._path))
        self._seen = self._path.read_bytes()
        self._say_so()

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Look for new versions in a thread."""
        threading.Thread(target=self._run, args=(on_failure,), name="rules", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look(self) -> None:
        """Follow the file if it has changed; refuse what cannot be followed, once for each version."""
        try:
            data: bytes | None = self._path.read_bytes()
        except OSError:
            data = None
        if data == self._seen:
            return
        self._seen = data
        try:
            self._catalogue.set_rules(read_rules(self._path))
        except NextclickError as error:
            self._catalogue.refused_rules += 1
            logger.error(
                "new rules were refused, those of version %s go on: %s",
                self._catalogue.rules.version,
                error.what,
                extra=happening("rules_refused", going_on=self._catalogue.rules.version, problem=error.what),
            )
            return
        self._say_so()

    def _say_so(self) -> None:
        logger.info(
            "the rules of %s hold, version %s; %d items may not be listed",
            self._path,
            self._catalogue.rules.version,
            self._catalogue.unlisted,
            extra=happening(
                "rules_hold", version=self._catalogue.rules.version, unlisted=self._catalogue.unlisted
            ),
        )

    def _run(self, on_failure: Callable[[BaseException], None]) -> None:
        try:
            while not self._stopping.wait(LOOK_EVERY_S):
                self.look()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            on_failure(error)
