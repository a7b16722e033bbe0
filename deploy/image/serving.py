"""The image's programs against a real Kafka: a first model, a worker, lists, a restart, an end in time.

Tested by `./deploy/image/check`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.image.container import Container
from model.errors import NextclickError
from replay.end_to_end.worker_process import free_port

LOG = "/app/deploy/data/online_retail.csv.xz"
PARAMS = "/app/deploy/params/online-retail.toml"
# The newest part of the bundled log, as in deploy/compose.yaml, and so many of its events.
NEWEST, EVENTS = "2011-11-14", 2_000
# deploy/compose.yaml's stop_grace_period and Kubernetes' terminationGracePeriodSeconds.
GRACE_S = 60
PATIENCE_S = 600.0
POLL_S = 0.2
VOLUMES = {
    "registry": "/var/lib/nextclick/registry",
    "state": "/var/lib/nextclick/state",
    "archive": "/var/lib/nextclick/archive",
    "cache": "/var/cache/nextclick",
}
# (what was looked at, whether it is so, what was seen)
Row = tuple[str, bool, str]


class ImageServing:
    """Looks at one image; `rows` yields what was seen, one after the other."""

    def __init__(self, root: Path, config: dict[str, Any], folder: Path, bootstrap_servers: str) -> None:
        volumes = {inside: folder / "volumes" / name for name, inside in VOLUMES.items()}
        self._container = Container(root, config, volumes)
        self._folder = folder
        self._port, self._probe_port = free_port(), free_port()
        self._environment = {
            "NEXTCLICK_BOOTSTRAP_SERVERS": bootstrap_servers,
            "NEXTCLICK_PARTITIONS": "4",
            "NEXTCLICK_WEB_PORT": str(self._port),
            "NEXTCLICK_WEB_PROBE_PORT": str(self._probe_port),
            "NEXTCLICK_STEP_THREADS": "1",
        }

    def rows(self) -> Iterator[Row]:
        """Look at everything, in order; the worker is ended whatever happens."""
        yield from self._rights()
        yield self._train()
        worker = self._start()
        try:
            yield self._ready(worker, "a worker is ready, by the image's health check")
            yield self._replay(worker)
            yield self._end(worker, "it ends in peace after SIGTERM")
            worker = self._start()
            yield self._ready(worker, "it is ready again with its volumes")
            yield self._goes_on()
            yield self._end(worker, "and ends again")
        finally:
            worker.kill()
            worker.wait()

    def _rights(self) -> Iterator[Row]:
        code, user = self._container.run(["id", "-u"])
        yield "it runs as its own user", code == 0 and user.strip() == self._container.user, user.strip()
        _, status = self._container.run(["grep", "-E", "CapEff|CapBnd|NoNewPrivs", "/proc/self/status"])
        found = dict(line.split(":\t") for line in status.splitlines())
        none = found == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
        yield "it has no capability and gets none", none, " ".join(status.split())
        code, said = self._container.run(["touch", "/app/written"])
        yield "its root cannot be written", code != 0 and "Read-only" in said, said.strip()
        for path in (*VOLUMES.values(), "/tmp"):
            code, said = self._container.run(["sh", "-c", f"touch {path}/written && rm {path}/written"])
            yield f"{path} can be written", code == 0, said.strip()

    def _train(self) -> Row:
        begun_s = time.monotonic()
        words = ["train", LOG, f"--params={PARAMS}", "--on-error=skip", f"--test-from={NEWEST}"]
        entry = ["nextclick", *words, "--unless-champion", "--set", "epochs=1"]
        code, said = self._container.run(entry, self._environment)
        (self._folder / "train.log").write_text(said)
        return "a first model is trained", code == 0, f"{time.monotonic() - begun_s:.0f} s"

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**self._environment, "NEXTCLICK_WORKER_ID": "worker-1"}
        return self._container.start(["worker"], environment, self._folder / "worker.log")

    def _ready(self, worker: subprocess.Popen[bytes], what: str) -> Row:
        begun_s = time.monotonic()
        # The address in it is of the port that the image exposes.
        words = [word.replace(":6066", f":{self._probe_port}") for word in self._container.health_check()]
        self._wait(worker, lambda: self._container.run(words)[0] == 0, "readiness")
        return what, True, f"{time.monotonic() - begun_s:.1f} s"

    def _replay(self, worker: subprocess.Popen[bytes]) -> Row:
        words = ["replay", LOG, "--on-error=skip", f"--from={NEWEST}", f"--limit={EVENTS}", "--speed=max"]
        code, said = self._container.run(["nextclick", *words], self._environment)
        (self._folder / "replay.log").write_text(said)
        if code:
            return "events are replayed and served", False, said[-300:]
        self._wait(worker, lambda: self._status().get("lists", 0) >= EVENTS, "the lists")
        status = self._status()
        held = status["lists"] == EVENTS and status["accounting"]["holds"]
        return "each of the replayed events has its list", held, f"{status['lists']:,} of {EVENTS:,}"

    def _goes_on(self) -> Row:
        status = self._status()
        held = status["lists"] == 0 and status["lag"] == 0 and status["sessions"] > 0
        seen = f"lag {status['lag']}, {status['sessions']} open sessions"
        return "it goes on where it was, with its sessions", held, seen

    def _end(self, worker: subprocess.Popen[bytes], what: str) -> Row:
        begun_s = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        try:
            code: int | None = worker.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        return what, code == 0, f"exit code {code} after {time.monotonic() - begun_s:.1f} s"

    def _status(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/status", timeout=10) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    def _wait(self, worker: subprocess.Popen[bytes], condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            if worker.poll() is not None or time.monotonic() > deadline_s:
                tail = (self._folder / "worker.log").read_text(errors="replace")[-1_500:]
                raise NextclickError(
                    f"the image's worker: {what} did not come", f"Its last words:\n{tail}", "Mend the image."
                )
            time.sleep(POLL_S)
