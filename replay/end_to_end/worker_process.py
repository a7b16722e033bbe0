"""Runs `nextclick worker` as a process: settings in its environment, its log in a file.

Tested by tests/integration/test_command_line.py and tests/faults/test_kills.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from model.errors import NextclickError
from stream.access.grants import OPERATE
from stream.access.own_requests import open_worker, own_address
from stream.settings import Settings

START_TIMEOUT_S = 300.0


class WorkerProcess:
    """Starts `nextclick worker` with `settings`; the log is appended to `log_path`.

    Another command that runs a worker, such as `up`, is given as `arguments` with its `environment`.
    """

    # The tests start it from a process that has imported the libraries already.
    popen: ClassVar[Callable[..., Any]] = subprocess.Popen
    # How long `wait_until` waits unless told otherwise, in seconds.
    patience_s: ClassVar[float] = START_TIMEOUT_S

    def __init__(
        self,
        settings: Settings,
        log_path: Path,
        arguments: Sequence[str] = ("worker",),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = own_address(settings)
        self._settings = settings
        self._log_path = log_path
        with log_path.open("ab") as log:
            self.process: subprocess.Popen[bytes] = self.popen(
                [sys.executable, "-m", "nextclick", *arguments],
                env={**os.environ, **settings.environment()} if environment is None else environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def status(self) -> dict[str, Any] | None:
        """The answer of /api/status, or None while the worker does not answer."""
        try:
            with self.open("/api/status", OPERATE) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def open(self, path: str, role: str) -> Any:
        """The answer to a request for a path, asked in a role. Raises OSError when there is none."""
        return open_worker(self._settings, f"{self.address}{path}", role, 5)

    def wait_until(
        self, condition: Callable[[dict[str, Any]], bool], what: str, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """The first status that meets `condition`. Raises NextclickError if it ends or takes too long."""
        timeout_s = self.patience_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        while not ((status := self.status()) and condition(status)):
            self.check()
            if time.monotonic() > deadline:
                raise self._failed(f"the worker: {what} did not happen in {timeout_s:.0f} s, status {status}")
            time.sleep(0.05)
        return status

    def wait_ready(self) -> None:
        """Return when the worker is ready to serve."""
        self.wait_until(lambda status: bool(status["ready"]), "readiness")

    def check(self) -> None:
        """Raises NextclickError when the process has ended."""
        if self.process.poll() is not None:
            raise self._failed(f"the worker ended with code {self.process.returncode}")

    def stop(self) -> int:
        """End it by SIGTERM. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it by SIGKILL. Returns its exit code."""
        self.process.kill()
        return self.process.wait()

    def log(self) -> str:
        """The text of its log."""
        return self._log_path.read_text(errors="replace")

    def _failed(self, what: str) -> NextclickError:
        tail = "\n".join(self.log().splitlines()[-15:])
        return NextclickError(what, f"Its last words:\n{tail}", "Look at them, then try again.")


def free_port() -> int:
    """A TCP port of this machine that is free now.

    >>> free_port() > 0
    True
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
