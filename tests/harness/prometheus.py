"""A real Prometheus with the configuration that is shipped, for processes on free ports of this machine."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from replay.end_to_end.worker_process import free_port
from tests.conftest import ROOT

SHIPPED = ROOT / "deploy" / "prometheus"
Series = dict[tuple[tuple[str, str], ...], list[float]]


class Prometheus:
    """Answers of its HTTP API."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.began_s = time.time()

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; fails the test on an error, such as of a query."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{path} {parameters}: {error.read().decode()}")

    def series(self, query: str) -> Series:
        """All series of a query since the start, by labels; without what is no number."""
        found = self.ask("query_range", query=query, start=str(self.began_s), end=str(time.time()), step="1")[
            "result"
        ]
        values = {
            tuple(sorted(series["metric"].items())): [float(value) for _, value in series["values"]]
            for series in found
        }
        finite = {labels: [v for v in of if math.isfinite(v)] for labels, of in values.items()}
        return {labels: of for labels, of in finite.items() if of}

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
        """Return when it is so."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"no {what} in {timeout_s:.0f} s"
            time.sleep(0.2)


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Prometheus as shipped, but that it scrapes each second, and `targets`: file of targets/ → address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("no prometheus: run the tests with ./tests/run, or install Debian's package")
    address = f"127.0.0.1:{free_port()}"
    config = folder / "config"
    shutil.copytree(SHIPPED, config)
    for name, target in targets.items():
        file = config / "targets" / f"{name}.yml"
        assert file.is_file()
        file.write_text(f"- targets: [{target}]\n")
    text = (config / "prometheus.yml").read_text()
    for shipped, here in (
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("scrape_timeout: 10s", "scrape_timeout: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ("127.0.0.1:9090", address),
    ):
        assert text.count(shipped) == 1
        text = text.replace(shipped, here)
    (config / "prometheus.yml").write_text(text)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        started = Prometheus(address)

        def is_up() -> bool:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            try:
                with urllib.request.urlopen(f"http://{address}/-/ready", timeout=60) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        started.wait_until(is_up, "Prometheus")
        yield started
    finally:
        process.kill()
        process.wait()
