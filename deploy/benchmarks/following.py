"""What a worker's lists are worth when its versions follow, and what following costs per event.

The worker's own code without Kafka: waves of a log go through its processor, with hot swaps to
versions trained every so often; every event is looked up in the list that its session was shown
last, as the worker itself does. Rolling windows, sink and source are left out. The cost is
processor time of the whole process, against the same run that follows nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.measure.process import machine
from model.config_files import build_config, read_params
from model.data.session_rule import SessionRule
from model.freshness.recent_events import RecentEvents, Row
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.cadence.live_baselines import HOUR_MS, LastHourPop
from replay.cadence.study_log import StudyLog
from replay.cadence.trainer import Trainer
from replay.console import parse_moment
from replay.datasets.event_files import EventFiles
from replay.sending.encoding import events_of
from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot
from stream.wave.stepped_wave import SteppedWave
from stream.wave.waves import Arrival, WaveCutter

WAVE = 64


class TimedRecentEvents(RecentEvents):
    """Adds up the processor time that adding events takes."""

    cpu_s = 0.0

    def add(self, rows: Iterable[Row]) -> None:
        """Add events, and count the time."""
        started_s = time.thread_time()
        super().add(rows)
        self.cpu_s += time.thread_time() - started_s


class Worker:
    """One partition, stepped in one thread; `ranks_N` and `times_ms_N` of the events that had a list."""

    def __init__(self, settings: Settings, first: str, folder: Path) -> None:
        self._live = ModelSlot(settings)
        if self._live.recent is not None:
            self._live.recent = TimedRecentEvents(settings.follow_events)
        self._live.offer(self._live.prepare(first))
        self._processor = Processor(self._live, settings.recent_items)
        self._partition = OpenPartition(0, SessionStore(folder))
        self._processor.partitions[0] = self._partition
        self._cutter = WaveCutter(WAVE)
        self._watermark = NO_WATERMARK
        self._offset = 0
        self.ranks: list[int] = []
        self.times_ms: list[int] = []
        self.most_listed = 0
        self.refreshes_s: list[float] = []
        self._refreshes, self._refresh_cpu_s = 0, 0.0

    @property
    def adding_s(self) -> float:
        """Processor time of adding events to those that versions follow."""
        recent = self._live.recent
        return recent.cpu_s if isinstance(recent, TimedRecentEvents) else 0.0

    def swap(self, version: str) -> None:
        """Serve another version from now on."""
        self._live.offer(self._live.prepare(version))
        # A version's refreshes count from its preparation on.
        self._refreshes, self._refresh_cpu_s = 0, 0.0

    def serve(self, events: list[Event]) -> None:
        """Step events, in waves that are full."""
        for event in events:
            arrival = Arrival(0, self._offset, event, self._watermark, 0)
            self._watermark = self._watermark.after(event.session_id, event.event_time_ms)
            self._partition.pending.add(self._offset, arrival.watermark, self._watermark)
            self._cutter.add(arrival)
            self._offset += 1
            if len(self._cutter) >= 2 * WAVE:
                self._step()
        while len(self._cutter):
            self._step()

    def _step(self) -> None:
        wave = self._cutter.cut()
        assert wave is not None
        self._processor.process(wave, self._write)

    def _write(self, stepped: SteppedWave) -> None:
        for partition, batch, applied in stepped.writes.values():
            partition.write(batch, applied)
        self._processor.written = stepped.number
        for observed in stepped.observed:
            if observed.position:
                self.ranks.append(observed.champion_rank)
                self.times_ms.append(observed.time_ms)
        refresher = self._live.current.refresher
        if refresher is not None:
            self.most_listed = max(self.most_listed, refresher.vocabulary.added_items)
            if refresher.refreshes > self._refreshes:
                self.refreshes_s.append(refresher.refresh_cpu_s - self._refresh_cpu_s)
                self._refreshes, self._refresh_cpu_s = refresher.refreshes, refresher.refresh_cpu_s


def last_hour_pop(events: list[Event], begin_ms: int) -> float:
    """Recall@20 of the last hour's most popular items, on the events that are not their session's first."""
    numbers: dict[str, int] = {}
    for event in events:
        numbers.setdefault(event.item_id, len(numbers))
    baseline, seen = LastHourPop(), dict[str, set[int]]()
    ranks = []
    for event in events:
        item, hidden = numbers[event.item_id], seen.setdefault(event.session_id, set())
        if hidden and event.event_time_ms >= begin_ms:
            ranks.append(baseline.rank(0, item, event.event_time_ms, hidden))
        baseline.learn(None, item, event.event_time_ms)
        hidden.add(item)
    return recall(ranks)


def recall(ranks: list[int]) -> float:
    """Recall@20."""
    ranks_N = np.array(ranks)
    return float(((ranks_N > 0) & (ranks_N <= 20)).mean())


def train_versions(arguments: argparse.Namespace, frame: Any, settings: Settings) -> list[tuple[int, str]]:
    """Train a version at every tick, each going on from the last: → the ticks and the versions."""
    config = build_config(read_params(arguments.params))
    log = StudyLog(frame, SessionRule(config.session_gap_s), arguments.from_ms, 1.0)
    registry, trainer = Registry(Path(settings.registry_dir)), Trainer(log, config)
    step_ms = int(arguments.every_h * HOUR_MS) if arguments.every_h else arguments.until_ms
    version = trainer.first
    versions: list[tuple[int, str]] = []
    for tick_ms in range(arguments.from_ms, arguments.until_ms, step_ms):
        version = (trainer.next(version, tick_ms) if versions else None) or version
        saved = registry.save(
            TrainedModel(version.fused or version.network, config, version.start.vocabulary),
            scores={},
            data={"last_event_time_ms": version.trained_ms - 1},
        )
        versions.append((tick_ms, saved.version))
    print(f"{len(versions)} versions, trained in {trainer.seconds:.0f} s", flush=True)
    return versions


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="+")
    parser.add_argument("--from", dest="from_", required=True)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--before-h", type=float, default=2.5, help="served before, for the counts")
    parser.add_argument("--every-h", type=float, help="trained and swapped so often; default: once")
    parser.add_argument("--follow", default="none,popularity,new-items,both")
    parser.add_argument("--scoring", default="exact")
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="a setting of the worker, name=value")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.from_ms = parse_moment(arguments.from_)
    arguments.until_ms = arguments.from_ms + int(arguments.hours * HOUR_MS)
    frame = EventFiles(arguments.file).load()
    frame = frame[frame["event_time_ms"] < arguments.until_ms].reset_index(drop=True)
    served = frame[frame["event_time_ms"] >= arguments.from_ms - arguments.before_h * HOUR_MS]
    events = list(events_of(served))
    print(machine(), f"{len(events):,} events", sep=", ", flush=True)
    with tempfile.TemporaryDirectory(prefix="nextclick-following-") as temporary:
        folder = Path(temporary)
        changes = dict(pair.split("=", 1) for pair in arguments.set)
        common = {"registry_dir": folder / "registry", "scoring": arguments.scoring, **changes}
        versions = train_versions(arguments, frame, Settings(**common))
        print(f"last-hour POP: Recall@20 {last_hour_pop(events, arguments.from_ms):.4f}", flush=True)
        for follow in arguments.follow.split(","):
            run(Settings(**common, follow=follow), versions, events, folder / follow, arguments.from_ms)


def run(
    settings: Settings, versions: list[tuple[int, str]], events: list[Event], folder: Path, begin_ms: int
) -> None:
    """Serve the events once, and print what came of it."""
    worker = Worker(settings, versions[0][1], folder)
    worker.serve([event for event in events if event.event_time_ms < begin_ms])
    worker.ranks.clear()
    worker.times_ms.clear()
    worker.refreshes_s.clear()
    adding_before_s = worker.adding_s
    served, cpu_s = 0, 0.0
    ends = [*(tick_ms for tick_ms, _ in versions), sys.maxsize]
    for (begin, end), (_, version) in zip(pairwise(ends), versions, strict=True):
        # The first one too: what was served before it was trained is for it to know by now.
        worker.swap(version)
        chosen = [event for event in events if begin <= event.event_time_ms < end]
        started_s = time.process_time()
        worker.serve(chosen)
        cpu_s += time.process_time() - started_s
        served += len(chosen)
    hours = (np.array(worker.times_ms) - begin_ms) // HOUR_MS
    ranks = np.array(worker.ranks)
    by_hour = " ".join(f"{recall(ranks[hours == hour].tolist()):.3f}" for hour in np.unique(hours))
    print(
        f"follow {settings.follow}: Recall@20 {recall(worker.ranks):.4f} of {len(ranks):,}, "
        f"{1e6 * cpu_s / served:.1f} µs per event, {worker.most_listed:,} items listed at most\n"
        f"  by hour: {by_hour}"
    )
    if refreshes_s := worker.refreshes_s:
        print(
            f"  {len(refreshes_s):,} refreshes, {1e3 * np.median(refreshes_s):.2f} ms each (median), "
            f"{1e6 * sum(refreshes_s) / served:.1f} µs per event; adding events "
            f"{1e6 * (worker.adding_s - adding_before_s) / served:.2f} µs per event",
            flush=True,
        )


if __name__ == "__main__":
    main()
