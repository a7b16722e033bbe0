"""Milliseconds from event to list while versions change, beside the normal ones of the same run.

Load and clock are those of the latency benchmark: an open schedule, with events due at a fixed rate.
Every few seconds another version is announced; the worker loads, verifies and warms it up, switches to
it, and rebuilds each session that returns. A swap lasts from its announcement until `--after-s` after
the first list of the new version; the rest, without the first seconds, is normal. Versions have equal
sizes and random weights: speed does not depend on what they have learned.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
import torch

from deploy.benchmarks.latency import GIL_SWITCH_S, Receiver, Sender, first_events, quantiles, worker
from deploy.benchmarks.measure.process import broker, machine, settings_of_run, show
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import free_port
from stream.events import Event
from stream.kafka.announcements import announce
from stream.kafka.topics import ensure_topics
from stream.settings import Settings


@dataclass(frozen=True)
class Swap:
    """When a version was announced, and when its first list came. Monotonic nanoseconds."""

    announced_ns: int
    first_list_ns: int


class Announcer(threading.Thread):
    """Announces one version after the other, `every_s` apart, once the load runs."""

    def __init__(self, settings: Settings, versions: list[str], every_s: float) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._versions = versions
        self._every_s = every_s
        self._ending = threading.Event()
        self.announced_ns: dict[str, int] = {}

    def run(self) -> None:
        """Announce all, or until stopped."""
        for version in self._versions:
            if self._ending.wait(self._every_s):
                return
            self.announced_ns[version] = time.monotonic_ns()
            announce(self._settings, version)

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        self.join()


def offer(
    settings: Settings, events: list[Event], rate: float, versions: list[str], every_s: float
) -> tuple[dict[str, int], dict[str, int], list[Swap]]:
    """Send `events` while `versions` are announced; → due and arrival times by event id, and the swaps."""
    receiver, sender = Receiver(settings), Sender(settings, rate)
    announcer = Announcer(settings, versions, every_s)
    receiver.start()
    announcer.start()
    try:
        sender.send(events)
        receiver.wait_for(len(events))
    finally:
        announcer.stop()
        receiver.stop()
    missing = [version for version in versions if version not in receiver.first_ns]
    if missing:
        raise NextclickError(
            f"{len(missing)} of {len(versions)} versions never served",
            "The swaps are not measured.",
            "Look at the worker's log.",
        )
    swaps = [Swap(announcer.announced_ns[version], receiver.first_ns[version]) for version in versions]
    return sender.due_ns, receiver.arrived_ns, swaps


def main() -> int:
    """Offer the events, announce the versions, print the latencies of both kinds of time."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench swap",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench swap clicks.csv.xz --rate 500 --swaps 5",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--rate", type=float, default=500, help="events per second")
    parser.add_argument("--swaps", type=int, default=5)
    parser.add_argument("--every-s", type=float, default=10, help="between announcements, and before them")
    parser.add_argument("--after-s", type=float, default=2, help="of a swap, after its first list")
    parser.add_argument("--warm-up-s", type=float, default=5, help="sent before, and left out")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--step-threads", type=int, help="of the worker; default: its own")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_S)
    frame: pd.DataFrame = EventFiles(arguments.files).load()
    wanted = int(arguments.rate * arguments.every_s * (arguments.swaps + 1))
    events = first_events(parser, frame, wanted)
    config = ModelConfig(hidden_size=arguments.hidden_size)
    vocabulary = Vocabulary.from_frame(frame)
    with tempfile.TemporaryDirectory(prefix="nextclick-swap-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            changes = {"web_port": free_port(), "step_threads": arguments.step_threads}
            settings = settings_of_run("swap", address, folder, **changes)
            registry = Registry(settings.registry_dir)
            versions: list[str] = []
            for seed in range(arguments.swaps + 1):
                torch.manual_seed(seed)
                network = build(config, vocabulary)
                versions.append(
                    registry.save(TrainedModel(network, config, vocabulary), scores={}, data={}).version
                )
            registry.promote(versions[0])
            ensure_topics(settings)
            with worker(settings, folder):
                due_ns, arrived_ns, swaps = offer(
                    settings, events, arguments.rate, versions[1:], arguments.every_s
                )
    result = {
        "machine": machine(),
        "events_per_s": arguments.rate,
        "items": len(vocabulary),
        "hidden_size": config.hidden_size,
        "step_threads": settings.step_threads,
        "unanswered": len(events) - len(arrived_ns),
        **compare(due_ns, arrived_ns, swaps, arguments.warm_up_s, arguments.after_s),
    }
    show(result, arguments.json, json.dumps)
    return 0


def compare(
    due_ns: dict[str, int], arrived_ns: dict[str, int], swaps: list[Swap], warm_up_s: float, after_s: float
) -> dict[str, Any]:
    """Latencies of events due in swaps and of the others, and the ratio of their p99."""
    answered = [event_id for event_id in due_ns if event_id in arrived_ns]
    due = np.array([due_ns[event_id] for event_id in answered])
    took_ms = np.array([(arrived_ns[event_id] - due_ns[event_id]) / 1e6 for event_id in answered])
    in_swap = [(due >= swap.announced_ns) & (due < swap.first_list_ns + int(after_s * 1e9)) for swap in swaps]
    any_swap = np.logical_or.reduce(in_swap)
    normal_ms = quantiles(took_ms[~any_swap & (due >= due.min() + int(warm_up_s * 1e9))])
    swap_ms = quantiles(took_ms[any_swap])
    loading_s = [(swap.first_list_ns - swap.announced_ns) / 1e9 for swap in swaps]
    return {
        "normal_ms": normal_ms,
        "swap_ms": swap_ms,
        "swap_p99_over_normal_p99": round(float(swap_ms["p99"] or 0) / float(normal_ms["p99"] or 1), 2),
        "p99_of_each_swap_ms": [quantiles(took_ms[chosen])["p99"] for chosen in in_swap],
        "announcement_to_first_list_s": [round(seconds, 2) for seconds in loading_s],
    }


if __name__ == "__main__":
    sys.exit(main())
