"""The demo: a log in, live lists out, on librdkafka's in-process broker.

Trains a first model on the earlier part of a log, starts a real worker process, replays the later part
and shows the lists as they arrive, with rolling Recall@20 beside POP's. The live page accepts clicks; on
a terminal it stays until Ctrl-C. The in-process broker keeps only the last few MB of a partition, so
the replay waits for the worker.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pandas as pd
from confluent_kafka import Producer
from rich.live import Live

from model.config import DEFAULT_NETWORK, ModelConfig
from model.data.splits import temporal_split
from model.errors import NextclickError
from model.registry.registry import Registry
from model.training.job import data_facts
from model.training.train import Progress, RunOptions, train
from model.training.training_data import TrainingData
from replay.datasets.event_files import EventFiles
from replay.deploy_files import deploy_folder
from replay.end_to_end.demo_screen import console, say, summary, view
from replay.end_to_end.worker_process import START_TIMEOUT_S, WorkerProcess, free_port
from replay.sending.replay import SendOptions, replay_frames
from replay.sending.replay_report import ReplayReport
from stream.access.grants import VIEW
from stream.kafka.lists_reader import Received, recommendations
from stream.kafka.topics import plans
from stream.settings import Settings, load_settings

BROKER_PARTITIONS = 4
USUAL_PORT = 6066
LAG_LIMIT = 3_000
TRAINING_EVENTS = 250_000
SHOWN_LISTS = 8


class EmbeddedBroker:
    """librdkafka's in-process broker; it lives as long as this object."""

    def __init__(self) -> None:
        self._client = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3})
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def make_topics(self, settings: Settings) -> None:
        """Create the topics by asking for their metadata: the broker has no CreateTopics."""
        client = Producer({**settings.kafka_config(), "allow.auto.create.topics": True})
        for plan in plans(settings):
            deadline = time.monotonic() + START_TIMEOUT_S
            while not client.list_topics(plan.name, timeout=10).topics[plan.name].partitions:
                if time.monotonic() > deadline:
                    raise NextclickError(
                        f"the embedded broker did not make {plan.name}", "The demo ends.", "Run it again."
                    )


def bundled_log() -> Path:
    """The log that comes with nextclick: a slice of Online Retail."""
    return deploy_folder() / "data" / "online_retail.csv.xz"


def train_first_model(
    earlier: pd.DataFrame, registry: Registry, epochs: int, gap_s: float | None = None
) -> None:
    """Train on the earlier part and make it the champion; `gap_s` ends sessions, 0 none, None by default."""
    config = ModelConfig(network=DEFAULT_NETWORK, epochs=epochs, exclude_session_items=True)
    if gap_s is not None:
        config = config.model_copy(update={"session_gap_s": gap_s or None})
    sessions, vocabulary, _ = TrainingData.from_frame(earlier, config)
    last = 0

    def report(p: Progress) -> None:
        nonlocal last
        if p.epoch > last and p.events >= p.total * 0.99:
            last = p.epoch
            console.print(f"  epoch {p.epoch} of {p.epochs}: loss {p.loss:.3f}", highlight=False)

    result = train(sessions, vocabulary, config, run=RunOptions(progress=report))
    model = registry.save(result, scores=result.scores(), data={"files": ["demo"], **data_facts(sessions)})
    registry.promote(model.version)
    console.print(
        f"  version {model.version}: {len(vocabulary):,} items, {result.events_per_s:,.0f} training events/s",
        highlight=False,
    )


def follow(
    worker: WorkerProcess,
    settings: Settings,
    later: pd.DataFrame,
    titles: dict[str, str],
    speed: float | None,
) -> ReplayReport:
    """Replay `later`, and show lists and numbers until every event has its list."""
    newest: deque[Received] = deque(maxlen=SHOWN_LISTS)
    report = ReplayReport()
    failures: list[BaseException] = []
    replayed, finished = threading.Event(), threading.Event()

    def replay() -> None:
        try:
            replay_frames(settings, [later], SendOptions(speed=speed, lag_limit=LAG_LIMIT, progress=progress))
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            failures.append(error)
        finally:
            replayed.set()

    def progress(now: ReplayReport) -> None:
        nonlocal report
        report = now

    def watch() -> None:
        try:
            for received in recommendations(settings, until=finished.is_set):
                newest.appendleft(received)
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            failures.append(error)

    watcher = threading.Thread(target=watch, daemon=True, name="watch")
    watcher.start()
    threading.Thread(target=replay, daemon=True, name="replay").start()
    said_s = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            worker.check()
            if failures:
                raise failures[0]
            status = worker.status()
            if status:
                if console.is_terminal:
                    live.update(view(newest, titles, status, report.sent, len(later)))
                elif time.monotonic() - said_s > 3:
                    said_s = time.monotonic()
                    say(newest, titles, status, report.sent, len(later))
                accounting = status["accounting"]
                if (
                    replayed.is_set()
                    and accounting["read"] >= report.acknowledged
                    and not accounting["in_flight"]
                ):
                    finished.set()
                    watcher.join()
                    return report
            time.sleep(0.25)


def at_rest(worker: WorkerProcess, acknowledged: int) -> tuple[dict[str, Any], int]:
    """Wait until all events are served. Returns the status and the number of the live page's events."""
    posted = 0

    def served(status: dict[str, Any]) -> bool:
        nonlocal posted
        with worker.open("/api/live", VIEW) as answer:
            posted = json.load(answer)["posted"]
        accounting = status["accounting"]
        return not accounting["in_flight"] and accounting["read"] == acknowledged + posted

    return worker.wait_until(served, "rest"), posted


def stay(worker: WorkerProcess) -> None:
    """Serve the live page until Ctrl-C."""
    console.print(f"[bold]the live page stays at {worker.address}[/]; Ctrl-C ends it")
    try:
        while True:
            worker.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def web_port() -> int:
    """The usual port of a worker, or a free one if it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return free_port()
    return USUAL_PORT


def run(files: EventFiles, *, epochs: int, seconds: float) -> int:
    """Run the whole demo. Returns the exit code."""
    rejects: Counter[str] = Counter()
    console.print(f"reading {', '.join(path.name for path in files.paths)}", highlight=False)
    reader = files.open()
    frame = reader.load(rejects)
    earlier, later = temporal_split(frame, test_fraction=0.1)
    earlier, later = earlier.tail(TRAINING_EVENTS), later.head(TRAINING_EVENTS // 5)
    left_out = "".join(f"; left out {count:,}: {reason}" for reason, count in rejects.items())
    console.print(f"  {len(frame):,} events{left_out}", highlight=False)
    with tempfile.TemporaryDirectory(prefix="nextclick-demo-") as temporary:
        folder = Path(temporary)
        broker = EmbeddedBroker()
        settings = load_settings(
            bootstrap_servers=broker.address,
            partitions=BROKER_PARTITIONS,
            registry_dir=folder / "registry",
            state_dir=folder / "state",
            web_port=web_port(),
            web_events=True,
            worker_id="demo",
        )
        broker.make_topics(settings)
        registry = Registry(settings.registry_dir)
        console.print(f"training on the earlier {len(earlier):,} events", highlight=False)
        train_first_model(earlier, registry, epochs, reader.session_gap_s)
        worker = WorkerProcess(settings, folder / "worker.log")
        try:
            worker.wait_ready()
            console.print(
                f"replaying the later {len(later):,} events through the worker\n"
                f"[bold]its live page: {worker.address}[/], metrics at {worker.address}/metrics",
                highlight=False,
            )
            span_s = (later["event_time_ms"].iloc[-1] - later["event_time_ms"].iloc[0]) / 1000
            titles = registry.load().vocabulary.titles
            report = follow(worker, settings, later, titles, max(1.0, span_s / seconds) if seconds else None)
            good = summary(*at_rest(worker, report.acknowledged), report)
            if console.is_terminal:
                stay(worker)
        finally:
            exit_code = worker.stop()
    if not (good := good and exit_code == 0):
        console.print("[bold red]something does not add up; see above[/]")
    return 0 if good else 1
