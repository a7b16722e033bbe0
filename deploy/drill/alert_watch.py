"""A real Prometheus with the shipped configuration and rules, and which of its alerts fire."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.drill.short_rules import write_short_rules
from model.errors import NextclickError
from replay.end_to_end.worker_process import free_port

SHIPPED = Path(__file__).parents[1] / "prometheus"
# As shipped, for factor 1; of a shorter drill no scrape comes sooner than the least.
SCRAPE_MS, LEAST_SCRAPE_MS, EVALUATE_LEAST_MS = 15_000, 2_000, 500
START_TIMEOUT_S = 240.0
POLL_S = 0.2


class AlertWatch:
    """Prometheus for `targets` (file of deploy/prometheus/targets → addresses), until `close`.

    Raises NextclickError where there is no Prometheus, or it does not start.
    """

    def __init__(self, folder: Path, factor: float, targets: Mapping[str, list[str]]) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise NextclickError(
                "there is no prometheus on the PATH",
                "Whether an alert fires cannot be seen.",
                "Install Debian's package prometheus, or run ./deploy/drill/run as root.",
            )
        address = f"127.0.0.1:{free_port()}"
        self._address = address
        self._config = folder / "prometheus"
        shutil.copytree(SHIPPED, self._config)
        for file in (self._config / "targets").glob("*.yml"):
            self.watch(file.stem, targets.get(file.stem, []))
        scrape_ms = max(LEAST_SCRAPE_MS, round(SCRAPE_MS / factor))
        evaluate_ms = max(EVALUATE_LEAST_MS, round(SCRAPE_MS / factor))
        write_short_rules(self._config, factor, scrape_ms)
        self._configure(address, scrape_ms, evaluate_ms)
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._config / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'prometheus-data'}",
                    f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()

    def watch(self, job: str, addresses: list[str]) -> None:
        """Scrape these addresses for a file of targets from now on."""
        path = self._config / "targets" / f"{job}.yml"
        # In one step: Prometheus reads it whenever it changes.
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": addresses}] if addresses else []))
        fresh.replace(path)

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        alerts = self._ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def rules_that_fail(self) -> dict[str, str]:
        """Rules that cannot be evaluated, with their errors."""
        groups = self._ask("rules")["groups"]
        return {
            rule["name"]: rule["lastError"]
            for group in groups
            for rule in group["rules"]
            if rule["health"] == "err"
        }

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}", timeout=60) as answer:
            return json.load(answer)["data"]

    def _configure(self, address: str, scrape_ms: int, evaluate_ms: int) -> None:
        path = self._config / "prometheus.yml"
        text = path.read_text()
        for shipped, here in (
            ("scrape_interval: 15s", f"scrape_interval: {scrape_ms}ms"),
            ("scrape_timeout: 10s", f"scrape_timeout: {min(10_000, scrape_ms)}ms"),
            ("evaluation_interval: 15s", f"evaluation_interval: {evaluate_ms}ms"),
            ("127.0.0.1:9090", address),
        ):
            if text.count(shipped) != 1:
                raise NextclickError(
                    f"{path.name} has no single line with {shipped!r}",
                    "The drill does not know how to shorten it.",
                    "Let deploy/drill/alert_watch.py follow deploy/prometheus/prometheus.yml.",
                )
            text = text.replace(shipped, here)
        path.write_text(text)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=60) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(POLL_S)
        self.close()
        raise NextclickError(
            "Prometheus did not start",
            f"Its last words: {self._log.read_text(errors='replace')[-1000:]}",
            "Look at them, then try again.",
        )
