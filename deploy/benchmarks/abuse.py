"""Event to list while two clients attack the worker's web server, beside the same without, in one run.

The worker serves events at a steady rate, calm, attacked, and calm again. The attacks and their rates
are in load/attackers.py; they come from addresses of their own, by a process that has been made nicer
than the worker. Meanwhile another client asks for /health on the web port and on the port of probes. Of
the worker, its memory and its log are measured over each phase.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import numpy as np
import pandas as pd

from deploy.benchmarks.latency import GIL_SWITCH_S, offer, quantiles, worker
from deploy.benchmarks.measure.process import ROOT, broker, machine, rss_bytes, settings_of_run, show
from deploy.benchmarks.measure.random_champion import promote_random
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.encoding import events_of
from stream.events import Event
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

PHASES = ("calm_before", "attacked", "calm_after")
PROBE_EVERY_S = 0.2
PROBE_TIMEOUT_S = 5.0
# An attacker begins with the events and ends after the last of them.
LONGER_S = 2.0
DAY_MS = 86_400_000


class Prober(threading.Thread):
    """A client that asks for /health every PROBE_EVERY_S, and notes how long that took."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self._stopping = port, threading.Event()
        self.took_ms: list[float] = []
        self.failed = 0

    def run(self) -> None:
        """Until stopped."""
        while not self._stopping.wait(PROBE_EVERY_S):
            began_s = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PROBE_TIMEOUT_S)
            try:
                connection.request("GET", "/health")
                good = connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                good = False
            finally:
                connection.close()
            self.failed += not good
            if good:
                self.took_ms.append(1000 * (time.perf_counter() - began_s))

    def result(self) -> dict[str, Any]:
        """End it. Returns what it found."""
        self._stopping.set()
        self.join()
        answers = len(self.took_ms)
        return {**quantiles(np.array(self.took_ms)), "answered": answers, "failed": self.failed}


def cycled(log: list[Event], wanted: int) -> list[Event]:
    """So many events: the log, and then the same again later and of other sessions, as often as is needed."""
    span_ms = log[-1].event_time_ms - log[0].event_time_ms + DAY_MS
    return [
        msgspec.structs.replace(
            log[number % len(log)],
            session_id=f"{log[number % len(log)].session_id}-{number // len(log)}",
            event_time_ms=log[number % len(log)].event_time_ms + number // len(log) * span_ms,
        )
        for number in range(wanted)
    ]


def attackers(settings: Settings, seconds: float, heads: int) -> subprocess.Popen[str]:
    """The attacking process."""
    command = [
        *(sys.executable, str(ROOT / "deploy" / "benchmarks" / "load" / "attackers.py")),
        *("--port", str(settings.web_port), "--seconds", str(seconds), "--heads", str(heads)),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def phase(
    worker: WorkerProcess, settings: Settings, events: list[Event], given: argparse.Namespace, attack: bool
) -> dict[str, Any]:
    """Offer the events; → latencies, answers to probes, growth of memory and log, what attacks became."""
    assert settings.web_probe_port is not None
    log = settings.state_dir.parent / "worker.log"
    before_bytes, log_bytes = rss_bytes(worker.process.pid), log.stat().st_size
    seconds = given.warm_up_s + given.seconds + LONGER_S
    probers = {"web_port": Prober(settings.web_port), "probe_port": Prober(settings.web_probe_port)}
    for prober in probers.values():
        prober.start()
    with attackers(settings, seconds, given.heads) if attack else nullcontext() as process:
        worker_ms = offer(settings, events, given.rate, int(given.rate * given.warm_up_s))
        outcomes = None if process is None else json.loads(process.communicate()[0])
    worker.check()
    found = {
        "event_to_list_ms": worker_ms,
        "health_ms": {name: prober.result() for name, prober in probers.items()},
        "rss_mb": round(rss_bytes(worker.process.pid) / 1e6, 1),
        "rss_grew_mb": round((rss_bytes(worker.process.pid) - before_bytes) / 1e6, 1),
        "log_grew_kb": round((log.stat().st_size - log_bytes) / 1e3, 1),
    }
    return found if outcomes is None else {**found, "attacks": outcomes}


def main() -> int:
    """Serve in three phases, and hold the one with attacks against those without."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench abuse",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench abuse clicks.csv.xz --rate 200 --seconds 600",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--rate", type=float, default=200, help="events per second")
    parser.add_argument(
        "--seconds", type=float, default=600, help="measured of each phase, after its warm-up"
    )
    parser.add_argument("--warm-up-s", type=float, default=5, help="sent before, and left out")
    parser.add_argument("--heads", type=int, default=400, help="connections that never end a request")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_S)
    frame: pd.DataFrame = EventFiles(arguments.files).load()
    each = int(arguments.rate * (arguments.warm_up_s + arguments.seconds))
    events = cycled(list(events_of(frame)), each * len(PHASES))
    config, vocabulary = ModelConfig(hidden_size=arguments.hidden_size), Vocabulary.from_frame(frame)
    with tempfile.TemporaryDirectory(prefix="nextclick-abuse-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            ports = {"web_port": free_port(), "web_probe_port": free_port(), "web_events": True}
            settings = settings_of_run("abuse", address, folder, **ports)
            promote_random(settings, config, vocabulary)
            ensure_topics(settings)
            with worker(settings, folder) as process:
                found = {
                    name: phase(
                        process,
                        settings,
                        events[number * each : (number + 1) * each],
                        arguments,
                        name == "attacked",
                    )
                    for number, name in enumerate(PHASES)
                }
    calm = [found[name]["event_to_list_ms"]["p99"] for name in PHASES if name != "attacked"]
    attacked = found["attacked"]["event_to_list_ms"]["p99"]
    result = {
        "machine": machine(),
        "events_per_s": arguments.rate,
        "seconds_of_each_phase": arguments.seconds,
        "items": len(vocabulary),
        **found,
        # The goal: at most 1.5.
        "p99_ratio": None if attacked is None or None in calm else round(attacked / max(calm), 2),
    }
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
