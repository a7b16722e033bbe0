"""The demo: a log in, live lists out, on librdkafka's in-process broker.

Trains a first model on the earlier part of a log, starts the real worker as a process of
its own, replays the later part and shows the lists as they come, with rolling Recall@20
beside POP's. The in-process broker keeps only the last few MB of a partition, so the
replay waits for the worker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pandas as pd
from confluent_kafka import Producer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from model import train as training
from model.config import ModelConfig
from model.errors import NextclickError
from model.registry import Registry
from model.sessions import SessionRule, Sessions, temporal_split
from model.vocabulary import Vocabulary
from replay import datasets
from replay.console import Terminal
from replay.run import ReplayReport, replay_frames
from stream.settings import Settings, load_settings
from stream.subscriber import Received, recommendations
from stream.topics import plans
from stream.worker_process import START_TIMEOUT_S, WorkerProcess, free_port

BUNDLED = Path(__file__).parent.parent / "deploy" / "data" / "online_retail.csv.xz"
BROKER_PARTITIONS = 4
LAG_LIMIT = 3_000
TRAINING_EVENTS = 250_000
SHOWN_LISTS = 8
SYSTEM_NAMES = {"champion": "GRU4Rec", "pop": "POP", "window_pop": "POP of the last hour"}
SHOWN_ITEMS = 4
console = Terminal(soft_wrap=True)


class EmbeddedBroker:
    """librdkafka's in-process broker, with the topics made; it lives as long as this object."""

    def __init__(self) -> None:
        self._client = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3})
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def make_topics(self, settings: Settings) -> None:
        """Asking for a topic makes it here; there is no CreateTopics."""
        client = Producer({**settings.kafka_config(), "allow.auto.create.topics": True})
        for plan in plans(settings):
            deadline = time.monotonic() + START_TIMEOUT_S
            while not client.list_topics(plan.name, timeout=10).topics[plan.name].partitions:
                if time.monotonic() > deadline:
                    raise NextclickError(
                        f"the embedded broker did not make {plan.name}", "The demo ends.", "Run it again."
                    )


def train_first_model(earlier: pd.DataFrame, registry: Registry, epochs: int) -> None:
    """Train on the earlier part and make it the champion."""
    config = ModelConfig(epochs=epochs, exclude_session_items=True)
    vocabulary = Vocabulary.from_frame(earlier)
    sessions = Sessions.from_frame(earlier, vocabulary, SessionRule(config.session_gap_s))
    last = 0

    def report(p: training.Progress) -> None:
        nonlocal last
        if p.epoch > last and p.events >= p.total * 0.99:
            last = p.epoch
            console.print(f"  epoch {p.epoch} of {p.epochs}: loss {p.loss:.3f}", highlight=False)

    result = training.train(sessions, vocabulary, config, progress=report)
    times = earlier["event_time_ms"]
    span = {"first_event_time_ms": int(times.iloc[0]), "last_event_time_ms": int(times.iloc[-1])}
    model = registry.save(
        result.network,
        config,
        vocabulary,
        scores={"losses": result.losses},
        data={"files": ["demo"], "events": len(earlier), **span},
    )
    registry.promote(model.version)
    console.print(
        f"  version {model.version}: {len(vocabulary):,} items, "
        f"{result.events / result.seconds:,.0f} training events/s",
        highlight=False,
    )


def view(
    newest: deque[Received], titles: dict[str, str], status: dict[str, Any], sent: int, total: int
) -> Group:
    """The screen: the newest lists, then the numbers."""
    lists = Table(title="newest lists", expand=True)
    for name in ("session", "event", "recommended next, best first"):
        lists.add_column(name, no_wrap=True, overflow="ellipsis", ratio=8 if name.startswith("rec") else None)
    for received in newest:
        shown = received.recommendation
        names = " · ".join(titles.get(item, item).capitalize() for item in shown.items[:SHOWN_ITEMS])
        lists.add_row(shown.session_id, f"#{received.headers.get('position', '?')}", names)
    return Group(lists, numbers(status, sent, total))


def numbers(status: dict[str, Any], sent: int, total: int) -> Table:
    """Quality beside POP's, and how far the replay is."""
    table = Table(expand=True)
    for name in ("", "rolling Recall@20", "rolling MRR@20", "events scored"):
        table.add_column(name)
    for system, quality in status["quality"].items():
        rolling = quality["rolling"]
        values = (f"{rolling['recall_at_20']:.3f}", f"{rolling['mrr_at_20']:.3f}", f"{rolling['events']:,}")
        table.add_row(SYSTEM_NAMES[system], *values)
    table.caption = (
        f"{sent:,} of {total:,} events replayed · {status['lists']:,} lists · model {status['model']}"
    )
    return table


def follow(
    worker: WorkerProcess,
    settings: Settings,
    later: pd.DataFrame,
    titles: dict[str, str],
    speed: float | None,
) -> ReplayReport:
    """Replay, and show lists and numbers until every event has its list."""
    newest: deque[Received] = deque(maxlen=SHOWN_LISTS)
    report = ReplayReport()
    failures: list[BaseException] = []
    replayed, finished = threading.Event(), threading.Event()

    def replay() -> None:
        try:
            replay_frames(settings, [later], speed=speed, lag_limit=LAG_LIMIT, progress=progress)
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
                if replayed.is_set() and accounting["read"] >= report.sure and not accounting["in_flight"]:
                    finished.set()
                    watcher.join()
                    return report
            time.sleep(0.25)


def say(
    newest: deque[Received], titles: dict[str, str], status: dict[str, Any], sent: int, total: int
) -> None:
    """One line each for the newest list and the numbers, where there is no terminal."""
    quality = {system: values["rolling"]["recall_at_20"] for system, values in status["quality"].items()}
    console.print(
        f"{sent:,} of {total:,} events, {status['lists']:,} lists, rolling Recall@20 "
        f"{quality['champion']:.3f} (POP {quality['pop']:.3f})",
        highlight=False,
    )
    if newest:
        shown = newest[0].recommendation
        names = " · ".join(titles.get(item, item).capitalize() for item in shown.items[:SHOWN_ITEMS])
        console.print(f"  session {shown.session_id}: {names}", highlight=False, markup=False)


def summary(status: dict[str, Any], report: ReplayReport, exit_code: int) -> bool:
    """Print how it went; → whether all is as it should be."""
    accounting, quality = status["accounting"], status["quality"]
    served = accounting["stepped"] + accounting["unknown"]
    good = accounting["holds"] and served == status["lists"] == report.sure and exit_code == 0
    console.rule("summary")
    champion, pop = quality["champion"]["total"], quality["pop"]["total"]
    console.print(
        f"{report.sure:,} events in, {status['lists']:,} lists out, {report.rate:,.0f} events/s\n"
        f"Recall@20 {champion['recall_at_20']:.3f}, MRR@20 {champion['mrr_at_20']:.3f} over "
        f"{champion['events']:,} events that had a list before them\n"
        f"POP on the same events: Recall@20 {pop['recall_at_20']:.3f}, MRR@20 {pop['mrr_at_20']:.3f}\n"
        f"read {accounting['read']:,} = stepped {accounting['stepped']:,} "
        f"+ duplicate {accounting['duplicate']:,} + unknown {accounting['unknown']:,} "
        f"+ ended {accounting['ended']:,} + dead-lettered {accounting['dead_lettered']:,}: "
        f"{'holds' if accounting['holds'] else 'BROKEN'}",
        highlight=False,
    )
    return bool(good)


def run(files: list[Path], *, epochs: int, seconds: float) -> int:
    """The whole demo; → exit code."""
    rejects: Counter[str] = Counter()
    console.print(f"reading {', '.join(path.name for path in files)}", highlight=False)
    frame = datasets.load(files, on_error="skip", rejects=rejects)
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
            web_port=free_port(),
            worker_id="demo",
        )
        broker.make_topics(settings)
        registry = Registry(settings.registry_dir)
        console.print(f"training on the earlier {len(earlier):,} events", highlight=False)
        train_first_model(earlier, registry, epochs)
        worker = WorkerProcess(settings, folder / "worker.log")
        try:
            worker.wait_ready()
            console.print(
                f"replaying the later {len(later):,} events through the worker; "
                f"metrics at {worker.address}/metrics",
                highlight=False,
            )
            span_s = (later["event_time_ms"].iloc[-1] - later["event_time_ms"].iloc[0]) / 1000
            titles = registry.load().vocabulary.titles
            report = follow(worker, settings, later, titles, max(1.0, span_s / seconds) if seconds else None)
            status = worker.status()
            worker.check()
        finally:
            exit_code = worker.stop()
        if status is None:
            raise NextclickError(
                "the worker did not answer at the end", "There is no summary.", "Run it again."
            )
        good = summary(status, report, exit_code)
    if not good:
        console.print("[bold red]something does not add up; see above[/]")
    return 0 if good else 1


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="./deploy/demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--file", type=Path, action="append", help="an event file of any supported format")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=40, help="how long the replay takes; 0: as fast as it goes"
    )
    arguments = parser.parse_args()
    try:
        return run(arguments.file or [BUNDLED], epochs=arguments.epochs, seconds=arguments.seconds)
    except NextclickError as error:
        print(f"error: {error.what}\n{error.meaning}\ndo: {error.remedy}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
