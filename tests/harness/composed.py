"""deploy/compose.yaml without containers: its services as processes of this machine.

What a service runs is read from compose.yaml and the Dockerfile: commands, variables, files,
order of start, health checks, signals. What containers would bring is mapped: volumes and the
image's folder to folders of a test, names of services and their ports to free ports of
127.0.0.1. Where the right to is there, a read-only service gets a read-only file system.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.harness.dockerfile import Image

COMPOSE = ROOT / "deploy" / "compose.yaml"
KAFKA_IMAGE, PROMETHEUS_IMAGE = "apache/kafka", "prom/prometheus"
POLL_S = 0.1
# A health check is a process of its own.
HEALTH_POLL_S = 0.5
# Binds what a service may write, makes all else read-only, and becomes the service.
READ_ONLY = """
mount --make-rprivate /
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done
shift
mount -o remount,ro,bind /
exec "$@"
"""


def interpolated(content: Any, variables: dict[str, str]) -> Any:
    """Compose's own ${NAME:-default}, in every text of what is read: one that becomes empty stays a text."""
    if isinstance(content, dict):
        return {key: interpolated(value, variables) for key, value in content.items()}
    if isinstance(content, list):
        return [interpolated(value, variables) for value in content]
    if not isinstance(content, str):
        return content
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], content)


def load(variables: dict[str, str] | None = None, path: Path = COMPOSE) -> dict[str, Any]:
    """The compose file, its variables filled in."""
    content: dict[str, Any] = interpolated(yaml.safe_load(path.read_text()), variables or {})
    return content


def free_ports(count: int) -> list[int]:
    """Ports below those that outgoing connections take theirs from."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 500):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


@dataclass
class Running:
    """A started service."""

    process: subprocess.Popen[bytes]
    log: Path
    starts: int = 1


class Composition:
    """The services, to be started and stopped as `docker compose` would. A context that ends them all."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self._image = Image.read(ROOT / "deploy" / "Dockerfile")
        ports = {(name, port) for name, service in load()["services"].items() for port in _ports(service)}
        self.ports = dict(zip(sorted(ports), free_ports(len(ports)), strict=True))
        published = {
            variable: str(self.ports[name, int(port)])
            for name, text in _published(COMPOSE.read_text())
            for variable, port in [text]
        }
        self.file = load({**published, **variables})
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        self.running: dict[str, Running] = {}
        self._image.copy_context(ROOT, folder / "app")

    def __enter__(self) -> Composition:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.running.values():
            running.process.kill()
            running.process.wait()

    def address(self, name: str, port: int) -> str:
        """Where a port of a service is on this machine."""
        return f"127.0.0.1:{self.ports[name, port]}"

    def volume(self, name: str) -> Path:
        """The folder of a named volume, or of a file or folder of the checkout that is mounted."""
        path = self.folder / "volumes" / name.removeprefix("./")
        if name.startswith("./") and not path.exists():
            shutil.copytree(COMPOSE.parent / name, path)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def mounts(self, name: str) -> dict[str, Path]:
        """Paths within the container → folders here; what the image has as well."""
        service = self.services[name]
        volumes = [text.split(":") for text in service.get("volumes", [])]
        scratch = {text.split(":")[0]: self.folder / "tmp" / name for text in service.get("tmpfs", [])}
        for path in scratch.values():
            path.mkdir(parents=True, exist_ok=True)
        app = {"/app": self.folder / "app"} if "nextclick" in service["image"] else {}
        return {**{parts[1]: self.volume(parts[0]) for parts in volumes}, **scratch, **app}

    def mapped(self, name: str, text: str) -> str:
        """`text` of a service with the paths, names and ports of this machine."""
        for (service, port), here in self.ports.items():
            text = re.sub(rf"(?<![\w.-]){service}:{port}\b", f"127.0.0.1:{here}", text)
        own = {port: here for (service, port), here in self.ports.items() if service == name}
        # One pass: what one rule has put there, the next is not to take for its own.
        hosts = r"(0\.0\.0\.0|127\.0\.0\.1)([:/])(\d+)\b"
        text = re.sub(hosts, lambda f: f"127.0.0.1{f[2]}{own.get(int(f[3]), f[3])}", text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        mounts = self.mounts(name)
        paths = "|".join(sorted(mounts, key=len, reverse=True))
        # In one pass: a folder of a test lies in /tmp itself.
        return re.sub(rf"(?<![\w./-])({paths})(?=[/:,\s]|$)", lambda f: str(mounts[f[1]]), text)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service: the image's and its own, nothing of this process."""
        service = self.services[name]
        given: dict[str, str] = dict(service.get("environment", {}))
        if "nextclick" in service["image"]:
            home = {"HOME": "/var/cache/nextclick", "TMPDIR": "/tmp", "PYTHONPATH": "/app"}
            given = {**self._image.environment, **home, **given}
        own = {str(port): str(here) for (of, port), here in self.ports.items() if of == name}
        mapped = {
            key: own.get(value, value) if key.endswith("_PORT") else self.mapped(name, value)
            for key, value in given.items()
        }
        return {**mapped, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def command(self, name: str) -> list[str]:
        """What the service runs, as processes of this machine."""
        service = self.services[name]
        words = [self.mapped(name, word) for word in service.get("command", [])]
        if service["image"].startswith(KAFKA_IMAGE):
            return self._kafka(name)
        if service["image"].startswith(PROMETHEUS_IMAGE):
            return ["prometheus", *words]
        assert self._image.entrypoint == ["nextclick"]
        return [sys.executable, "-m", "nextclick", *words]

    def start(self, name: str) -> None:
        """Start a service, or start it again; its log is appended to."""
        service, before = self.services[name], self.running.get(name)
        log = self.folder / f"{name}.log"
        words = self.command(name)
        if service.get("read_only") and os.geteuid() == 0:
            writable = [
                str(self.volume(parts[0]))
                for parts in (text.split(":") for text in service.get("volumes", []))
                if "ro" not in "".join(parts[2:]).split(",")
            ]
            tmp = [str(self.folder / "tmp" / name)] if service.get("tmpfs") else []
            words = ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", *writable, *tmp, "--", *words]
        with log.open("ab") as file:
            process = subprocess.Popen(
                words,
                env=self.environment(name),
                cwd=self.folder / "app",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.running[name] = Running(process, log, before.starts + 1 if before else 1)

    def up(self, *names: str) -> None:
        """Start services and what they depend on, each when its conditions hold."""
        for name in names:
            for needed, how in self.services[name].get("depends_on", {}).items():
                self.up(needed)
                if how["condition"] == "service_completed_successfully":
                    self.wait(partial(self._ended_well, needed), f"the end of {needed}")
                else:
                    self.wait_healthy(needed)
            if name not in self.running:
                self.start(name)

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check succeeds."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        mapped = [self.mapped(name, word) for word in words]
        environment = self.environment(name)
        ended = subprocess.run(mapped, env=environment, capture_output=True, timeout=60, check=False)
        return ended.returncode == 0

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        timeout_s: float = 240,
        poll_s: float = POLL_S,
    ) -> None:
        """Return when `condition` holds; services that end meanwhile are treated by their restart rule."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            for name, running in list(self.running.items()):
                if running.process.poll() is None or self._ended_well(name):
                    continue
                assert self.services[name]["restart"] == "unless-stopped", self.log(name)
                assert running.process.returncode < 0, self.log(name)
                self.start(name)
            assert time.monotonic() < deadline, f"{what}: not in {timeout_s:.0f} s\n{self.log()}"
            time.sleep(poll_s)

    def wait_healthy(self, name: str) -> None:
        """Return when the service is healthy by its own check."""
        self.wait(partial(self.healthy, name), f"the health of {name}", poll_s=HEALTH_POLL_S)

    def stop(self, name: str) -> int:
        """End a service as `docker stop` does; → its exit code. It has to end within its grace period."""
        process = self.running.pop(name).process
        process.send_signal(signal.SIGTERM)
        return process.wait(float(self.services[name].get("stop_grace_period", "10s").removesuffix("s")))

    def log(self, *names: str) -> str:
        """The last words of services."""
        chosen = names or tuple(self.running)
        tails = [
            (name, (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-12:])
            for name in chosen
        ]
        return "\n".join(f"{name}: {line}" for name, lines in tails for line in lines)

    def _ended_well(self, name: str) -> bool:
        return self.services[name].get("restart") == "no" and self.running[name].process.poll() == 0

    def _kafka(self, name: str) -> list[str]:
        """What the image of apache/kafka does: properties from the variables, storage formatted, broker."""
        jars = next((Path.home() / ".cache" / "nextclick").glob("kafka-*/.complete")).parent
        image, java = self.folder / "kafka-image", ["java", "-cp", f"{jars}/*"]
        folders = [image / part for part in ("default", "mounted", "final")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        flags = ("--default-configs-dir", "--mounted-configs-dir", "--final-configs-dir")
        pairs = [word for pair in zip(flags, map(str, folders), strict=True) for word in pair]
        environment = self.environment(name)
        subprocess.run(
            [*java, "kafka.docker.KafkaDockerWrapper", "setup", *pairs],
            env=environment,
            capture_output=True,
            timeout=60,
            check=True,
        )
        heap = environment["KAFKA_HEAP_OPTS"].split()
        return [java[0], *heap, *java[1:], "kafka.Kafka", str(folders[2] / "server.properties")]


def _ports(service: dict[str, Any]) -> set[int]:
    """The ports that a service listens on."""
    named = [str(text).rsplit(":", 1)[-1] for text in [*service.get("ports", []), *service.get("expose", [])]]
    listeners = service.get("environment", {}).get("KAFKA_LISTENERS", "")
    return {int(port) for port in [*named, *re.findall(r":(\d+)", listeners)]}


def _published(text: str) -> list[tuple[str, tuple[str, str]]]:
    """Of each published port: service, (variable of its number here, its number in the container)."""
    raw = yaml.safe_load(text)["services"]
    return [
        (name, found.groups())  # type: ignore[misc]
        for name, service in raw.items()
        for port in service.get("ports", [])
        for found in [re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-\d+\}:(\d+)", port)]
        if found
    ]
