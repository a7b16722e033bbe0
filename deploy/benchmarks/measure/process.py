"""Measures a process: its lists, CPU seconds and memory as points in wall time.

Reads /proc and the worker's status; changes nothing. CPU is counted over the span of the rate, from the
first list to the last, so that neither includes start-up. Also knows the machine's name, and starts a
broker for a benchmark.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from model.errors import NextclickError
from replay.end_to_end.worker_process import WorkerProcess
from stream.kafka.consumers import offset_bounds
from stream.settings import Settings

ROOT = Path(__file__).parents[3]
# Each look at /api/status, and each scrape of /metrics still more, takes the worker's interpreter.
LOOK_EVERY_S = 0.5
SERIES_EVERY_S = 5.0
ANSWER_TIMEOUT_S = 15.0
SERIES_GAUGES = ("nextclick_open_sessions", "nextclick_store_bytes")


@dataclass(frozen=True, slots=True)
class Point:
    """One look at a process. CPU seconds are user and system, of all threads, since its start."""

    wall_s: float
    lists: int
    cpu_s: float
    broker_cpu_s: float | None


class Observation:
    """Points of one process, and of the broker beside it if its process id is known."""

    def __init__(self, pid: int, broker_pid: int | None = None) -> None:
        self._pid = pid
        self._broker_pid = broker_pid
        self._started_s = time.perf_counter()
        self.points: list[Point] = []
        self.series: list[dict[str, float]] = []
        self.peak_rss_bytes = 0

    def add(self, lists: int) -> None:
        """Look now, when `lists` have been published."""
        broker_cpu_s = None if self._broker_pid is None else cpu_s(self._broker_pid)
        self.points.append(Point(time.perf_counter(), lists, cpu_s(self._pid), broker_cpu_s))
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss_bytes(self._pid))

    def add_to_series(self, values: dict[str, float]) -> None:
        """Keep `values` beside wall seconds and resident bytes."""
        wall_s = round(time.perf_counter() - self._started_s, 3)
        self.series.append({"wall_s": wall_s, "rss_bytes": rss_bytes(self._pid), **values})

    @property
    def span(self) -> tuple[Point, Point]:
        """The first and the last point at which the count of lists had moved.

        Raises NextclickError when there are not two.
        """
        moved = [b for a, b in pairwise(self.points) if b.lists > a.lists]
        if len(moved) < 2:
            raise NextclickError(
                f"the lists were seen to grow {len(moved)} times",
                "A rate needs two such moments; the backlog was served too fast, or not at all.",
                "Take a larger backlog: --events.",
            )
        return moved[0], moved[-1]

    @property
    def rate(self) -> float:
        """Lists/s over the span."""
        first, last = self.span
        return (last.lists - first.lists) / (last.wall_s - first.wall_s)

    @property
    def core_us_per_event(self) -> float:
        """Microseconds of one core that the process used for a list."""
        first, last = self.span
        return 1e6 * (last.cpu_s - first.cpu_s) / (last.lists - first.lists)

    @property
    def broker_core_us_per_event(self) -> float | None:
        """The same of the broker; None when it is not ours."""
        first, last = self.span
        if first.broker_cpu_s is None or last.broker_cpu_s is None:
            return None
        return 1e6 * (last.broker_cpu_s - first.broker_cpu_s) / (last.lists - first.lists)


def follow_worker(
    worker: WorkerProcess,
    events: int,
    observation: Observation,
    *,
    series: bool = False,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Observe a worker until it has read `events` and nothing is in flight; → its last status.

    With `series` its metrics are scraped on the way. Raises NextclickError when it ends, or has made
    no list for `timeout_s`.
    """
    next_series_s, moved_s, lists = 0.0, time.monotonic(), -1
    while True:
        worker.check()
        status = worker.status()
        now_s = time.monotonic()
        if status:
            observation.add(status["lists"])
            if status["lists"] > lists:
                lists, moved_s = status["lists"], now_s
            read = status["accounting"]["read"]
            finished = read >= events and not status["accounting"]["in_flight"]
            if series and (finished or now_s >= next_series_s):
                next_series_s = now_s + SERIES_EVERY_S
                observation.add_to_series({"events_read": read, **gauges(worker)})
            if finished:
                return status
        if timeout_s is not None and now_s - moved_s > timeout_s:
            raise NextclickError(
                f"the worker made no list for {timeout_s:.0f} s, at {lists:,} of {events:,}",
                "The benchmark has no result.",
                "Look at its log and at the broker.",
            )
        time.sleep(LOOK_EVERY_S)


def gauges(worker: WorkerProcess) -> dict[str, float]:
    """Of /metrics: open sessions and store bytes of all partitions, and the newest watermark."""
    with urllib.request.urlopen(f"{worker.address}/metrics", timeout=ANSWER_TIMEOUT_S) as answer:
        text = answer.read().decode()
    values: dict[str, float] = dict.fromkeys(SERIES_GAUGES, 0.0)
    values["nextclick_watermark_seconds"] = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in SERIES_GAUGES:
                values[sample.name] += sample.value
            elif sample.name == "nextclick_watermark_seconds":
                values[sample.name] = max(values[sample.name], sample.value)
    return {name.removeprefix("nextclick_"): value for name, value in values.items()}


class TopicEnd:
    """Counts the records of a topic by its newest offsets."""

    def __init__(self, settings: Settings, topic: str) -> None:
        config = {**settings.kafka_config(), "group.id": f"{settings.group_id}-end"}
        self._consumer = Consumer(config)
        self._partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]

    def records(self) -> int:
        """Records now, of all partitions."""
        return sum(offset_bounds(self._consumer, place)[1] for place in self._partitions)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, user and system, of all its threads."""
    # The name before the last bracket may hold anything, blanks included.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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


@contextmanager
def broker(address: str | None, folder: Path, *options: str) -> Iterator[tuple[str, int | None]]:
    """A broker's address and process id: the one at `address` (id None), or one of our own in `folder`.

    Ours is started with `options` of deploy/kafka.sh.
    """
    # So that a benchmark that is ended leaves no broker, no worker and no folder behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if address:
        yield address, None
        return
    try:
        yield _kafka("start", folder, *options), int((folder / "kafka" / "pid").read_text())
    finally:
        _kafka("kill", folder)


def _kafka(command: str, folder: Path, *options: str) -> str:
    """Run deploy/kafka.sh; → what it printed."""
    script = ROOT / "deploy" / "kafka.sh"
    words = [str(script), command, "--dir", str(folder / "kafka"), *options]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def topics_of_run(run: str) -> dict[str, str]:
    """Every topic of the settings under a name of the run's own: on somebody's broker none of his is used."""
    names = (name for name in Settings.model_fields if name.endswith("_topic"))
    return {name: f"{run}-{name.removesuffix('_topic')}" for name in names}


def settings_of_run(name: str, address: str, folder: Path, **changes: Any) -> Settings:
    """Settings with topics, group and folders of this run's own; changes that are None are left out."""
    run = f"bench-{name}-{os.getpid()}"
    given = {key: value for key, value in changes.items() if value is not None}
    return Settings(
        **{
            "bootstrap_servers": address,
            **topics_of_run(run),
            "group_id": run,
            "worker_id": run,
            "registry_dir": folder / "registry",
            "state_dir": folder / f"state-{name}",
            **given,
        }
    )


def show(result: dict[str, Any], as_json: bool, dump: Any) -> None:
    """Print a result: one JSON object by `dump`, or a line for each figure."""
    if as_json:
        print(dump(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")
