"""A worker at a steady rate for an hour: delay, memory, store, open files, accounting, as a series.

Real Kafka both ways, on one machine. During the run a retraining continues from the champion with the
newest events, on one core and at low priority, as the systemd unit does; a version that passes the gate
is swapped in while events arrive. Later the first version is announced again, for a second swap. The
first version has learned from the first tenth of the log; the rest is sent, and repeated with new
sessions at later times when it is too short. The schedule is open: the delay of a list counts from when
its event was due (no coordinated omission), on one monotonic clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.latency import GIL_SWITCH_S, quantiles
from deploy.benchmarks.load.report import plot, summary
from deploy.benchmarks.load.steady import LAST_LIST_S, Clock, Load, Receiver
from deploy.benchmarks.measure.process import broker, cpu_s, machine, rss_bytes, settings_of_run, show
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.registry.registry import Registry
from model.training.train import train
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from stream.kafka.announcements import announce
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

EXIT_REFUSED = 3
ANSWER_S = 5.0


class Retraining:
    """`nextclick retrain` as the systemd unit runs it: low priority, held to one core."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.begun_ns = time.monotonic_ns()
        self.ended_ns: int | None = None
        self.exit_code: int | None = None
        last_core = max(os.sched_getaffinity(0))
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    *("taskset", "-c", str(last_core), "nice", "-n", "19"),
                    *(sys.executable, "-m", "nextclick", "retrain", "--newest-events", "500000", "--json"),
                ],
                env={**os.environ, **settings.environment()},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def look(self) -> bool:
        """Whether it runs."""
        if self.ended_ns is None and (code := self._process.poll()) is not None:
            self.ended_ns, self.exit_code = time.monotonic_ns(), code
        return self.ended_ns is None

    def end(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.wait()


def sample(worker: WorkerProcess, settings: Settings, broker_pid: int | None) -> dict[str, Any]:
    """What the worker's process and its store look like now."""
    worker.check()
    pid, status = worker.process.pid, worker.status() or {}
    accounting = status.get("accounting", {})
    # Its counts are not read at one instant: while waves move, a look may fall between two of them.
    deadline_s = time.monotonic() + ANSWER_S
    while not accounting.get("holds") and time.monotonic() < deadline_s:
        status = worker.status() or {}
        accounting = status.get("accounting", {})
    files = [path for path in settings.state_dir.rglob("*") if path.is_file()]
    return {
        "rss_bytes": rss_bytes(pid),
        "cpu_s": cpu_s(pid),
        "broker_cpu_s": None if broker_pid is None else cpu_s(broker_pid),
        "open_files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "store_bytes": sum(_size(path) for path in files),
        "sessions": status.get("sessions"),
        "lag": status.get("lag"),
        "level": status.get("level"),
        "version": status.get("model"),
        "identity_holds": accounting.get("holds"),
        "read": accounting.get("read"),
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # Compaction has removed it since the folder was listed.
        return 0


def run(arguments: argparse.Namespace, folder: Path, address: str, broker_pid: int | None) -> dict[str, Any]:
    """The whole test; → its series and what came of it."""
    frame = EventFiles(arguments.files).load()
    count = int(arguments.rate * arguments.seconds)
    settings = settings_of_run("endurance", address, folder, web_port=free_port())
    config = ModelConfig(hidden_size=arguments.hidden_size, epochs=1)
    known = frame.head(max(1000, len(frame) // 10))
    later = frame.iloc[len(known) :]
    # Of the whole log, so that every event is stepped, over all its items.
    vocabulary = Vocabulary.from_frame(frame)
    learned = train(
        Sessions.from_frame(known, vocabulary, SessionRule(config.session_gap_s)), vocabulary, config
    )
    registry = Registry(settings.registry_dir)
    last_ms = int(known["event_time_ms"].iloc[-1])
    data = {"events": len(known), "last_event_time_ms": last_ms}
    first = registry.save(learned, scores={}, data=data).version
    registry.promote(first)
    ensure_topics(settings)
    clock = Clock(settings.partitions, count)
    receiver, load = Receiver(settings, clock), Load(settings, clock, later, arguments.rate, count)
    worker = WorkerProcess(settings, folder / "worker.log")
    retraining: Retraining | None = None
    announced: int | None = None
    series: list[dict[str, Any]] = []
    try:
        worker.wait_ready()
        receiver.start()
        start_ns, start_s = time.monotonic_ns(), time.monotonic()
        load.start()
        while load.is_alive():
            load.join(arguments.sample_every_s)
            if load.failure:
                raise NextclickError(
                    f"an event was refused: {load.failure}", "The load test ended.", "Look at the broker."
                )
            wall_s = time.monotonic() - start_s
            if retraining is None and wall_s >= arguments.retrain_at * arguments.seconds:
                retraining = Retraining(settings, folder / "retrain.log")
            if announced is None and wall_s >= arguments.swap_at * arguments.seconds:
                announced = time.monotonic_ns()
                registry.promote(first)
                announce(settings, first)
            point = sample(worker, settings, broker_pid)
            retrains = bool(retraining and retraining.look())
            if retraining and retraining.exit_code not in (None, 0, EXIT_REFUSED):
                raise NextclickError(
                    f"the retraining ended with code {retraining.exit_code}",
                    (folder / "retrain.log").read_text(errors="replace")[-2000:],
                    "Look at its words above.",
                )
            series.append({"wall_s": round(wall_s, 2), "retraining": retrains, **point})
            print(json.dumps(series[-1]), file=sys.stderr, flush=True)
        deadline_s = time.monotonic() + LAST_LIST_S
        while clock.lists < load.acknowledged and time.monotonic() < deadline_s:
            time.sleep(0.1)
        status = worker.status() or {}
        exit_code = worker.stop()
    finally:
        receiver.stopping.set()
        worker.kill()
        if retraining is not None:
            retraining.end()
    previous_s = 0.0
    for point in series:
        from_ns, until_ns = (start_ns + int(1e9 * s) for s in (previous_s, point["wall_s"]))
        took_ms = clock.delays_ms(from_ns, until_ns)
        point["delay_ms"], point["events"] = quantiles(took_ms), len(took_ms)
        previous_s = point["wall_s"]
    accounting = {k: v for k, v in status["accounting"].items() if k != "partitions"}
    return {
        "machine": machine(),
        "events_per_s": arguments.rate,
        "seconds": arguments.seconds,
        "items": len(vocabulary),
        "events": load.acknowledged,
        "without_list": load.acknowledged - clock.lists,
        "sender_latest_ms": round(load.latest_ns / 1e6, 1),
        "delay_ms": quantiles(clock.delays_ms(start_ns, time.monotonic_ns())),
        "retrain_exit": None if retraining is None else retraining.exit_code,
        "retrain_s": None
        if retraining is None or retraining.ended_ns is None
        else round((retraining.ended_ns - retraining.begun_ns) / 1e9, 1),
        "first_lists_s": {v: round((ns - start_ns) / 1e9, 1) for v, ns in receiver.first_ns.items()},
        "announced_again_s": None if announced is None else round((announced - start_ns) / 1e9, 1),
        "accounting": accounting,
        "exit_code": exit_code,
        "series": series,
    }


def main() -> int:
    """Run, print the summary, draw the series."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench endurance",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench endurance clicks.csv.xz --rate 1000 --seconds 3600 --plot load.png",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--rate", type=float, default=1000, help="events per second")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--retrain-at", type=float, default=0.35, help="share of the time")
    parser.add_argument("--swap-at", type=float, default=0.75, help="share of the time")
    parser.add_argument("--sample-every-s", type=float, default=10)
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--series", type=Path, help="JSON of every sample")
    parser.add_argument("--plot", type=Path, help="PNG")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_S)
    with tempfile.TemporaryDirectory(prefix="nextclick-endurance-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, broker_pid):
            result = run(arguments, folder, address, broker_pid)
    if arguments.series:
        arguments.series.write_text(json.dumps(result))
    if arguments.plot:
        plot(result, arguments.plot)
    show(summary(result), arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
