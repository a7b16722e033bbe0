"""What runs while faults are made: a broker, two workers, their traffic, and a Prometheus that watches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.benchmarks.load.traffic import Traffic
from deploy.benchmarks.measure.list_account import ListAccount
from deploy.benchmarks.measure.process import broker
from deploy.benchmarks.measure.worker_group import WorkerGroup
from deploy.drill.alert_watch import AlertWatch
from replay.end_to_end.worker_process import WorkerProcess
from stream.settings import Settings

KAFKA = Path(__file__).parents[1] / "kafka.sh"
WORKERS = ("a", "b")


@dataclass(frozen=True)
class Wishes:
    """How a drill is run: `factor` divides the times of the rules, `patience_s` ends a wait for an alert."""

    factor: float = 1.0
    patience_s: float = 1_200.0
    pause_s: float = 60.0
    rate: float = 40.0
    bootstrap_servers: str | None = None
    session_timeout_ms: int | None = None


@dataclass
class Stage:
    """The parts by name. `owns_broker`: it is the drill's own, and may be killed."""

    folder: Path
    group: WorkerGroup
    traffic: Traffic
    account: ListAccount
    watch: AlertWatch
    owns_broker: bool
    patience_s: float
    pause_s: float
    struck_s: float = 0.0
    # Workers that no supervisor starts again while a fault lasts.
    held: set[str] = field(default_factory=set)

    def supervise(self) -> None:
        """Start again what has ended, as a supervisor does, but what is held."""
        for name in WORKERS:
            if name not in self.held:
                self.group.start(name)

    def strike(self) -> None:
        """The fault is there now: an alert is timed from here."""
        self.struck_s = time.monotonic()

    @property
    def settings(self) -> Settings:
        """The settings that all workers share."""
        return self.group.settings

    def kafka(self, command: str) -> bool:
        """Run deploy/kafka.sh for the drill's own broker. Returns whether it ended well."""
        words = [str(KAFKA), command, "--dir", str(self.folder / "kafka")]
        return subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0

    @contextmanager
    def command(self, log: str, *arguments: str, **changes: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A command of nextclick as a process beside the workers; it is killed in the end."""
        settings = self.settings.model_copy(update=changes)
        environment = {**settings.environment(), **_variables(changes)}
        with (self.folder / f"{log}.log").open("ab") as file:
            process = WorkerProcess.popen(
                [sys.executable, "-m", "nextclick", *arguments],
                env={**os.environ, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _variables(changes: dict[str, Any]) -> dict[str, str]:
    return {f"NEXTCLICK_{name.upper()}": str(value) for name, value in changes.items()}


@contextmanager
def stage(folder: Path, wishes: Wishes) -> Iterator[Stage]:
    """Start everything and wait until it serves; end everything afterwards."""
    with ExitStack() as parts:
        address, _ = parts.enter_context(broker(wishes.bootstrap_servers, folder))
        changes = {}
        if wishes.session_timeout_ms is not None:
            changes["session_timeout_ms"] = wishes.session_timeout_ms
        group = WorkerGroup(address, folder, "drill", WORKERS, wishes.patience_s, **changes)
        # A broker of its own takes its topics with it.
        if wishes.bootstrap_servers is not None:
            parts.callback(group.remove_topics)
        # Last in, first out: the workers end before their topics do.
        parts.callback(group.kill)
        group.train()
        account = ListAccount(group.settings)
        parts.callback(account.close)
        group.start()
        targets = {"worker": [f"127.0.0.1:{group.settings_of(name).web_port}" for name in WORKERS]}
        watch = AlertWatch(folder, wishes.factor, targets)
        parts.callback(watch.close)
        traffic = Traffic(group.settings, wishes.rate)
        group.settle()
        traffic.begin()
        made = Stage(
            folder,
            group,
            traffic,
            account,
            watch,
            wishes.bootstrap_servers is None,
            wishes.patience_s,
            wishes.pause_s,
        )
        yield made
        traffic.end()
