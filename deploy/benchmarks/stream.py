"""The worker's events/s on a backlog in real Kafka, beside the model-only limit of the same run.

The model-only limit steps the same waves with the same model, and does nothing else. The
worker is a process of its own; its rate is taken between its first and its last list, so
start-up is not counted. Weights are random: speed does not depend on what they know.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from model.bundle import Model
from model.config import ModelConfig
from model.networks import build
from model.registry import Registry
from model.stepper import Stepper
from model.vocabulary import Vocabulary
from replay import datasets
from replay.run import replay_frames
from stream.settings import Settings
from stream.worker_process import WorkerProcess, free_port

ROOT = Path(__file__).parent.parent.parent
LIMIT_WAVES = 300


def model_only(model: Model, settings: Settings, items: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Events/s of stepping alone: full waves, states carried in memory."""
    stepper = Stepper(model, device=settings.device, wave_size=settings.wave_size)
    stepper.warm_up()
    size = settings.wave_size
    rows = stepper.initial_rows(size)
    started = time.perf_counter()
    for wave in range(LIMIT_WAVES):
        at = wave * size % (len(items) - size)
        _, _, rows = stepper.step({"item": items[at : at + size]}, rows)
    return LIMIT_WAVES * size / (time.perf_counter() - started)


class Observation(threading.Thread):
    """Follows the worker: when each count of lists was seen, and its resident memory."""

    def __init__(self, worker: WorkerProcess, events: int) -> None:
        super().__init__(daemon=True)
        self._worker = worker
        self._events = events
        self.points: list[tuple[float, int]] = []
        self.peak_rss_bytes = 0
        self.status: dict[str, Any] = {}

    def run(self) -> None:
        """Until every event has its list."""
        while self._worker.process.poll() is None:
            status = self._worker.status()
            now = time.perf_counter()
            if status:
                self.status = status
                self.points.append((now, status["lists"]))
                statm = Path(f"/proc/{self._worker.process.pid}/statm").read_text().split()
                self.peak_rss_bytes = max(self.peak_rss_bytes, int(statm[1]) * os.sysconf("SC_PAGE_SIZE"))
                if status["accounting"]["read"] >= self._events and not status["accounting"]["in_flight"]:
                    return
            time.sleep(0.2)

    def rate(self) -> float:
        """Lists/s between the first and the last point at which the count moved."""
        moving = [b for a, b in pairwise(self.points) if b[1] > a[1]]
        (first_s, first), (last_s, last) = moving[0], moving[-1]
        return (last - first) / (last_s - first_s)


def machine() -> str:
    """Processor, cores and versions, in one line."""
    name = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> int:
    """Fill a topic, measure the limit, run the worker, print the comparison."""
    parser = argparse.ArgumentParser(prog="nextclick bench stream", description=__doc__.split("\n\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--events", type=int, default=300_000, help="size of the backlog; 0: the whole log")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--wave-size", type=int, default=64)
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    frame = datasets.load(arguments.files)
    config = ModelConfig(hidden_size=arguments.hidden_size)
    vocabulary = Vocabulary.from_frame(frame)
    torch.manual_seed(0)
    network = build(config, vocabulary)
    backlog: pd.DataFrame = frame.head(arguments.events or len(frame))
    items = vocabulary.encode(backlog["item_id"])
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as temporary:
        folder = Path(temporary)
        address = arguments.bootstrap_servers or kafka("start", folder)
        try:
            settings = Settings(
                bootstrap_servers=address,
                events_topic=f"bench-events-{os.getpid()}",
                recommendations_topic=f"bench-recommendations-{os.getpid()}",
                models_topic=f"bench-models-{os.getpid()}",
                dlq_topic=f"bench-dlq-{os.getpid()}",
                group_id=f"bench-{os.getpid()}",
                registry_dir=folder / "registry",
                state_dir=folder / "state",
                web_port=free_port(),
                wave_size=arguments.wave_size,
            )
            registry = Registry(settings.registry_dir)
            model = registry.save(network, config, vocabulary, scores={}, data={"events": len(frame)})
            registry.promote(model.version)
            sent = replay_frames(settings, [backlog])
            print(f"{sent.sure:,} events in Kafka at {sent.rate:,.0f} events/s", file=sys.stderr)
            limit_before = model_only(model, settings, items)
            worker = WorkerProcess(settings, folder / "worker.log")
            try:
                observation = Observation(worker, len(backlog))
                observation.start()
                observation.join()
                worker.check()
            finally:
                exit_code = worker.stop()
            limit = (limit_before + model_only(model, settings, items)) / 2
            result = {
                "machine": machine(),
                "events": len(backlog),
                "items": len(vocabulary),
                "hidden_size": config.hidden_size,
                "wave_size": settings.wave_size,
                "worker_events_per_s": round(observation.rate()),
                "model_only_events_per_s": round(limit),
                "ratio": round(observation.rate() / limit, 3),
                "peak_rss_mib": observation.peak_rss_bytes >> 20,
                "accounting": {
                    k: v for k, v in observation.status["accounting"].items() if k != "partitions"
                },
                "exit_code": exit_code,
            }
        finally:
            if not arguments.bootstrap_servers:
                kafka("kill", folder)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0


def kafka(command: str, folder: Path) -> str:
    """Run deploy/kafka.sh; → what it printed."""
    script = ROOT / "deploy" / "kafka.sh"
    done = subprocess.run(
        [str(script), command, "--dir", str(folder / "kafka")], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
