"""The worker's events/s on a backlog in real Kafka, beside the model-only limit of the same run.

The model-only limit steps the same waves with the same model, and does nothing else; it is the
best of several ways to use the cores (torch's threads, or waves side by side), each measured before
and after the worker. The worker is a
process of its own; its rate is taken between its first and its last list, so start-up is not
counted. CPU seconds over that span give the core-microseconds that an event costs the worker and
the broker. With `--peer quix` a Quix Streams application serves the same topic after it, one
event at a time and in windows of the wave size. The model is trained, if shortly: how many
items scoring in bfloat16 must look at twice depends on what the weights know.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt
import pandas as pd

from deploy.benchmarks.measure.model_limit import best, limits
from deploy.benchmarks.measure.process import (
    Observation,
    broker,
    follow_worker,
    machine,
    settings_of_run,
    show,
)
from deploy.benchmarks.quix.process import peer_python, run_quix
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.networks.network import Network
from model.registry.registry import Registry
from model.training.train import train
from model.training.trained_model import TrainedModel
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.settings import Settings

TRAINING_EVENTS = 300_000


def trained(frame: pd.DataFrame, vocabulary: Vocabulary, config: ModelConfig) -> Network:
    """A network of one epoch over the newest events."""
    rule = SessionRule(config.session_gap_s)
    sessions = Sessions.from_frame(frame.tail(TRAINING_EVENTS), vocabulary, rule)
    return train(sessions, vocabulary, config).network


def serve(
    settings: Settings, log_path: Path, events: int, broker_pid: int | None, *, series: bool = False
) -> tuple[Observation, dict[str, Any]]:
    """Let a worker serve the backlog; → what was observed, and its accounting with its exit code."""
    worker = WorkerProcess(settings, log_path)
    try:
        observation = Observation(worker.process.pid, broker_pid)
        status = follow_worker(worker, events, observation, series=series)
    finally:
        exit_code = worker.stop()
    accounting = {k: v for k, v in status["accounting"].items() if k != "partitions"}
    return observation, {"accounting": accounting, "exit_code": exit_code}


def costs(name: str, observation: Observation) -> dict[str, Any]:
    """An application's rate, and what an event cost it and the broker."""
    first, last = observation.span
    broker_us = observation.broker_core_us_per_event
    broker_s = (
        None
        if first.broker_cpu_s is None or last.broker_cpu_s is None
        else round(last.broker_cpu_s - first.broker_cpu_s, 1)
    )
    return {
        f"{name}_events_per_s": round(observation.rate),
        f"{name}_core_us_per_event": round(observation.core_us_per_event, 1),
        f"{name}_broker_core_us_per_event": None if broker_us is None else round(broker_us, 1),
        f"{name}_cpu_s": round(last.cpu_s - first.cpu_s, 1),
        f"{name}_broker_cpu_s": broker_s,
        f"{name}_peak_rss_mib": observation.peak_rss_bytes >> 20,
    }


def against_quix(
    settings: Settings,
    folder: Path,
    model: ModelVersion,
    items: npt.NDArray[np.int64],
    *,
    one_by_one: int,
    torch_threads: int | None,
    broker_pid: int | None,
    worker_rate: float,
) -> dict[str, Any]:
    """Serve the topic with the peer, both ways; the ratio is to its faster one.

    One by one it serves the first `one_by_one` events only; in windows, all. A peer that fails
    is reported so, with what the worker did.
    """
    threads, limit = best([limits(settings.registry_dir, model.version, settings.device, 1, items)])
    result: dict[str, Any] = {
        "one_by_one_model_only_events_per_s": round(limit),
        "one_by_one_model_only_threads": threads,
    }
    rates: list[float] = []
    for name, wave, default_threads, events in (
        # A second thread has nothing to do in a single step but to wait for the broker's core.
        ("quix_one_by_one", 1, 1, min(one_by_one, len(items))),
        ("quix_windows", settings.wave_size, settings.torch_threads, len(items)),
    ):
        try:
            observation = run_quix(
                settings,
                folder,
                events=events,
                wave=wave,
                torch_threads=torch_threads or default_threads,
                broker_pid=broker_pid,
            )
            rates.append(observation.rate)
            result |= costs(name, observation)
        except NextclickError as error:
            print(f"error: {error.what}\n{error.meaning}", file=sys.stderr)
            result[f"{name}_failed"] = error.what
    return {**result, "ratio_to_quix": round(worker_rate / max(rates), 2) if rates else None}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench stream",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench stream clicks.csv.xz --events 300000 --peer quix --series out.json",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--events", type=int, default=300_000, help="size of the backlog; 0: the whole log")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--wave-size", type=int, default=64)
    parser.add_argument("--torch-threads", type=int, help="of the worker; default: 1")
    parser.add_argument("--peer", choices=["quix"], help="serve the topic with it too, after the worker")
    parser.add_argument(
        "--peer-events",
        type=int,
        default=30_000,
        help="where the peer steps one by one, it stops after so many",
    )
    parser.add_argument(
        "--peer-torch-threads", type=int, help="default: 1 where it steps one by one, else as the worker"
    )
    parser.add_argument("--series", type=Path, help="save events read, memory, sessions, ... of every 5 s")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Fill a topic, measure the limit, run the worker and its peer, print the comparison."""
    arguments = parse()
    if arguments.peer:
        peer_python()
    frame = EventFiles(arguments.files).load()
    config = ModelConfig(hidden_size=arguments.hidden_size, epochs=1)
    vocabulary = Vocabulary.from_frame(frame)
    network = trained(frame, vocabulary, config)
    backlog: pd.DataFrame = frame.head(arguments.events or len(frame))
    items = vocabulary.encode(backlog["item_id"])
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, broker_pid):
            settings = settings_of_run(
                "stream",
                address,
                folder,
                web_port=free_port(),
                wave_size=arguments.wave_size,
                torch_threads=arguments.torch_threads,
            )
            registry = Registry(settings.registry_dir)
            model = registry.save(
                TrainedModel(network, config, vocabulary), scores={}, data={"events": len(frame)}
            )
            registry.promote(model.version)
            sent = replay_frames(settings, [backlog])
            print(f"{sent.acknowledged:,} events in Kafka at {sent.rate:,.0f} events/s", file=sys.stderr)
            before = limits(settings.registry_dir, model.version, settings.device, settings.wave_size, items)
            observation, ended = serve(
                settings, folder / "worker.log", len(backlog), broker_pid, series=arguments.series is not None
            )
            after = limits(settings.registry_dir, model.version, settings.device, settings.wave_size, items)
            threads, limit = best([before, after])
            result = {
                "machine": machine(),
                "events": len(backlog),
                "items": len(vocabulary),
                "hidden_size": config.hidden_size,
                "wave_size": settings.wave_size,
                "step_threads": settings.step_threads,
                "torch_threads": settings.torch_threads,
                **costs("worker", observation),
                "model_only_events_per_s": round(limit),
                "model_only_threads": threads,
                "ratio": round(observation.rate / limit, 3),
                **ended,
            }
            if arguments.peer:
                result |= against_quix(
                    settings,
                    folder,
                    model,
                    items,
                    one_by_one=arguments.peer_events,
                    torch_threads=arguments.peer_torch_threads,
                    broker_pid=broker_pid,
                    worker_rate=observation.rate,
                )
    if arguments.series:
        series = {"machine": result["machine"], "events": len(backlog), "series": observation.series}
        arguments.series.write_text(json.dumps(series))
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
