"""Events/s of one worker and of several on the same backlog, each worker held to one core.

Lists are counted at the end of the topic, from the moment when every worker has made some until the
first worker has nothing left, so that neither start-up nor the tail counts. Every worker is a process
on its own core while there are enough cores; the broker shares the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pandas as pd

from deploy.benchmarks.measure.process import TopicEnd, broker, machine, settings_of_run, show
from deploy.benchmarks.stream import trained
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.settings import Settings

LOOK_EVERY_S = 0.1


def serve(settings: Settings, count: int, folder: Path) -> float:
    """Lists/s of `count` workers over the backlog, which all begin at its first offset."""
    fields = {name: getattr(settings, name) for name in settings.model_fields_set}
    with ExitStack() as stack:
        workers = []
        for number in range(count):
            changes = {
                "group_id": f"{settings.group_id}-{count}",
                "worker_id": f"{settings.worker_id}-{count}-{number}",
                "state_dir": folder / f"state-{count}-{number}",
                "web_port": free_port(),
            }
            worker = WorkerProcess(Settings(**{**fields, **changes}), folder / f"worker-{count}-{number}.log")
            # Its threads, none of which is there yet, inherit this.
            os.sched_setaffinity(worker.process.pid, {number % (os.cpu_count() or 1)})
            stack.callback(worker.stop)
            workers.append(worker)
        end = TopicEnd(settings, settings.recommendations_topic)
        stack.callback(end.close)
        return _rate(workers, end)


def _rate(workers: list[WorkerProcess], end: TopicEnd) -> float:
    points: list[tuple[float, int]] = []
    while True:
        states = [worker.status() for worker in workers]
        for worker in workers:
            worker.check()
        if all(state and state["lists"] for state in states):
            points.append((time.perf_counter(), end.records()))
            if any(state and not state["lag"] and not state["accounting"]["in_flight"] for state in states):
                break
        time.sleep(LOOK_EVERY_S)
    if len(points) < 3:
        raise NextclickError(
            f"the lists were looked at {len(points)} times while all workers served",
            "A rate needs three such moments; the backlog was served too fast.",
            "Take a larger backlog: --events.",
        )
    # The last point may be later than the end of the first worker's share.
    (first_s, first), (last_s, last) = points[0], points[-2]
    return (last - first) / (last_s - first_s)


def main() -> int:
    """Fill a topic, serve it with each number of workers, print the rates."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench workers",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench workers clicks.csv.xz --workers 1 2 --network pop",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--events", type=int, default=300_000, help="size of the backlog")
    parser.add_argument("--network", default="gru4rec")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    frame: pd.DataFrame = EventFiles(arguments.files).load()
    config = ModelConfig(network=arguments.network, hidden_size=arguments.hidden_size, epochs=1)
    vocabulary = Vocabulary.from_frame(frame)
    network = trained(frame, vocabulary, config)
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            settings = settings_of_run("workers", address, folder)
            registry = Registry(settings.registry_dir)
            model = registry.save(
                TrainedModel(network, config, vocabulary), scores={}, data={"events": len(frame)}
            )
            registry.promote(model.version)
            replay_frames(settings, [frame.head(arguments.events)])
            rates = {count: serve(settings, count, folder) for count in arguments.workers}
    result: dict[str, Any] = {
        "machine": machine(),
        "network": arguments.network,
        "hidden_size": arguments.hidden_size,
        "items": len(vocabulary),
        "events": arguments.events,
        "events_per_s": {str(count): round(rate) for count, rate in rates.items()},
        "speed_up": {
            str(count): round(rate / rates[arguments.workers[0]], 2) for count, rate in rates.items()
        },
    }
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
