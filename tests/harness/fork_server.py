"""Starts `python -m nextclick …` from a process that has imported the libraries already.

Importing torch, Faust, pandas and numba takes three of the four seconds of a worker's start, and the
suite starts some hundred processes. Each is still a process with its environment, its files and its
signals, and imports all of nextclick itself; only the libraries are there at its birth. Linux alone.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    "aiohttp", "aiokafka", "confluent_kafka.admin", "faust", "faust.worker", "matplotlib.figure", "msgspec",
    "numba", "orjson", "pandas", "prometheus_client", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet",
    "pydantic_settings", "rich.console", "rich.progress", "rich.table", "rocksdict", "safetensors.torch",
    "scipy.sparse", "torch", "typer.main",
)  # fmt: skip
MESSAGE_BYTES = 1 << 20


class ForkedProcess:
    """A process of the server's; what tests use of subprocess.Popen."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._captured: tuple[IO[bytes], ...] = ()
        self._printed: tuple[str, str] | None = None
        self.returncode: int | None = None
        self._server = server
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, as Popen's; None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("nextclick", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; returns its standard output and error. For processes of `start`."""
        self.wait(timeout)
        if self._printed is None:
            out, errors = map(_text_of, self._captured)
            self._printed = out, errors
            for file in self._captured:
                file.close()
        return self._printed

    def errors(self) -> str:
        """What it has written to standard error until now. For processes of `start`."""
        return _text_of(self._captured[1])

    def _ended_within(self, timeout_s: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if poll.poll(None if timeout_s is None else timeout_s * 1000):
                self.returncode = int(self._server.ask({"reap": self.pid})["code"])
                os.close(self._pidfd)
        return self.returncode


class ForkServer:
    """The process that has the libraries, and the socket by which it is asked for another one."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.harness.fork_server", str(theirs.fileno())]
        root = Path(__file__).parent.parent.parent
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root)
        theirs.close()
        atexit.register(self.close)

    def popen(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes] | int,
        stdin: int = subprocess.DEVNULL,
        cwd: Path | str | None = None,
    ) -> ForkedProcess:
        """Start `python -m nextclick …`, as subprocess.Popen does; `stderr` may be subprocess.STDOUT."""
        assert list(command[:3]) == [sys.executable, "-m", "nextclick"], command
        assert stdin == subprocess.DEVNULL
        errors = stdout if isinstance(stderr, int) else stderr
        asked = {"arguments": list(command[3:]), "env": dict(env), "cwd": str(cwd or Path.cwd())}
        return ForkedProcess(self, int(self.ask(asked, [stdout.fileno(), errors.fileno()])["pid"]))

    def ask(self, message: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
        """Send a request, with files that the process shall have; returns the answer."""
        socket.send_fds(self._socket, [json.dumps(message).encode()], files)
        answer: dict[str, Any] = json.loads(self._socket.recv(MESSAGE_BYTES))
        return answer

    def close(self) -> None:
        """End the server; it kills what still runs."""
        self._socket.close()
        self._process.wait()


def _text_of(file: IO[bytes]) -> str:
    # The process shares the file's position: read without moving it.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


@functools.cache
def _server() -> ForkServer:
    return ForkServer()


def popen(command: Sequence[str], **options: Any) -> ForkedProcess:
    """As ForkServer.popen, by this process's own server, which the first call starts."""
    return _server().popen(command, **options)


def start(*arguments: str, env: Mapping[str, str]) -> ForkedProcess:
    """Start `nextclick …`; `communicate` returns what it prints."""
    out, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - the process keeps them
    command = [sys.executable, "-m", "nextclick", *arguments]
    process = popen(command, env=env, stdout=out, stderr=errors)
    process._captured = (out, errors)
    return process


def run(*arguments: str, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `nextclick …` to its end, as subprocess.run does with captured output."""
    process = start(*arguments, env=env)
    try:
        out, errors = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(["nextclick", *arguments], process.wait(), out, errors)


def serve(number: int) -> None:
    """Answer requests until the asking process ends; then kill what still runs."""
    for name in LIBRARIES:
        importlib.import_module(name)
    # The forked share these pages for as long as the collector does not write to them.
    gc.collect()
    gc.freeze()
    asked, running = socket.socket(fileno=number), set[int]()
    while True:
        data, files, _, _ = socket.recv_fds(asked, MESSAGE_BYTES, 2)
        if not data:
            break
        message = json.loads(data)
        if "reap" in message:
            _, status = os.waitpid(message["reap"], 0)
            running.discard(message["reap"])
            asked.send(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            continue
        pid = os.fork()
        if not pid:
            asked.close()
            _become(message, files)
        running.add(pid)
        for file in files:
            os.close(file)
        asked.send(json.dumps({"pid": pid}).encode())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _become(message: dict[str, Any], files: Sequence[int]) -> None:
    """Run nextclick in this process, and end as the interpreter would."""
    code: int = 1
    try:
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for number, file in zip((1, 2), files, strict=True):
            os.dup2(file, number)
            os.close(file)
        # A shell lets what it starts in the background ignore SIGINT, the tests and their children too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(message["cwd"])
        os.environ.clear()
        os.environ.update(message["env"])
        sys.argv[:] = ["nextclick", *message["arguments"]]
        runpy.run_module("nextclick", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - the interpreter prints whatever it is
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
