"""Seconds until a worker serves again with many open sessions: restarted, and after a lost disk.

Fills `events` with sessions that all stay open, lets a worker serve them and stops it. Then (a) it
is started again, (b) its state folder is moved away and it is started again: the histories come
from the log, no model is asked. Each is timed from the process's start to /ready, and split by
the worker's log: imports and model; then joining the group (and opening the first store that
is there); then the other stores, or the log re-read. The limit of the same run is plain
librdkafka, which reads the same records and does nothing with them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Set
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks.measure.process import (
    Observation,
    broker,
    follow_worker,
    machine,
    rss_bytes,
    settings_of_run,
    show,
)
from deploy.benchmarks.measure.random_champion import promote_random
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import NETWORKS
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.producer import EventProducer
from stream.events import Event
from stream.kafka.topics import ensure_topics
from stream.sessions.store import SessionStore
from stream.settings import Settings

START_MS = 1_700_000_000_000
# Half of the default session gap: nothing expires, however many sessions there are.
SPAN_MS = 900_000
READY_EVERY_S = 0.02
TIMEOUT_S = 3_600.0
READ_RECORDS = 10_000
# The names of the first log line after each part of a start.
MODEL, STORE, ASSIGNED = {"model_serves"}, {"store_opened", "recovering"}, {"assigned"}


def fill(settings: Settings, sessions: int, events: int, items: int) -> float:
    """Send `events` rounds of one event for each session, random items; → events/s."""
    rng = np.random.default_rng(0)
    total = sessions * events
    producer = EventProducer(settings)
    started_s = time.perf_counter()
    for number in range(events):
        for session, item in enumerate(rng.integers(items, size=sessions).tolist()):
            time_ms = START_MS + (number * sessions + session) * SPAN_MS // total
            producer.send(Event(f"session-{session}", time_ms, f"item-{item}"))
    producer.flush()
    return total / (time.perf_counter() - started_s)


def start(settings: Settings, log_path: Path) -> tuple[WorkerProcess, dict[str, Any]]:
    """Start a worker and wait until /ready says 200; → it, and how long each part took."""
    started_s, wall_s = time.perf_counter(), time.time()
    worker = WorkerProcess(settings, log_path)
    try:
        while not ready(worker):
            worker.check()
            if time.perf_counter() - started_s > TIMEOUT_S:
                raise NextclickError(
                    f"the worker was not ready in {TIMEOUT_S:.0f} s",
                    "The benchmark has no result.",
                    "Take fewer sessions: --sessions.",
                )
            time.sleep(READY_EVERY_S)
        ready_s = time.perf_counter() - started_s
        log = worker.log()
        model, store, assigned = moment_s(log, MODEL), moment_s(log, STORE), moment_s(log, ASSIGNED)
        return worker, {
            "start_to_ready_s": round(ready_s, 2),
            "imports_and_model_s": round(model - wall_s, 2),
            "model_to_first_store_s": round(store - model, 2),
            "stores_s": round(assigned - store, 3),
            "ready_less_imports_s": round(ready_s - (model - wall_s), 2),
            "rss_mib_when_ready": rss_bytes(worker.process.pid) >> 20,
        }
    except BaseException:
        worker.kill()
        raise


def ready(worker: WorkerProcess) -> bool:
    """Whether the worker says that it serves."""
    try:
        with urllib.request.urlopen(f"{worker.address}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def moment_s(log: str, names: Set[str]) -> float:
    """When the first line with one of the names was written to a log in JSON, epoch seconds."""
    for line in log.splitlines():
        # Whatever else writes to stderr writes no JSON.
        if line.startswith("{"):
            record = json.loads(line)
            if record["event"] in names and record.get("offsets") != {}:
                return datetime.fromisoformat(record["time"]).timestamp()
    raise NextclickError(
        f"the worker's log has no line named {' or '.join(sorted(names))}",
        "How long the part of the start before it took is not known; the benchmark has no result.",
        f"Look at its last lines:\n{log[-2000:]}",
    )


def plain_reading(settings: Settings, total: int) -> float:
    """Records/s of librdkafka alone, all partitions at once, from making the consumer to the last record."""
    started_s = time.perf_counter()
    config = {
        **settings.kafka_config(),
        "group.id": f"{settings.group_id}-plain",
        "enable.auto.commit": False,
    }
    consumer = Consumer(config)
    consumer.assign(
        [TopicPartition(settings.events_topic, number, 0) for number in range(settings.partitions)]
    )
    read = 0
    while read < total:
        # No more than there are: it would wait for the rest until the timeout.
        messages = consumer.consume(min(READ_RECORDS, total - read), timeout=0.5)
        read += sum(message.error() is None for message in messages)
    seconds = time.perf_counter() - started_s
    consumer.close()
    return total / seconds


def stored(settings: Settings) -> dict[str, int]:
    """Open sessions by the fences of all stores, and their bytes on disk."""
    paths = sorted(settings.state_dir.glob(f"{settings.events_topic}-*"))
    size = sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())
    sessions = 0
    for path in paths:
        store = SessionStore(path)
        sessions += store.applied.sessions if store.applied is not None else 0
        store.close()
    return {"sessions_in_store": sessions, "store_bytes_on_disk": size}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench recovery",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench recovery --sessions 1000000 --network gru4rec",
    )
    parser.add_argument("--sessions", type=int, default=1_000_000, help="open sessions")
    parser.add_argument("--events", type=int, default=2, help="of each session")
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument(
        "--network", default="pop", choices=sorted(NETWORKS), help="pop is cheap and stateless"
    )
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--torch-threads", type=int, help="of the worker; default: 1")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Fill, serve, restart, lose the disk, restart; print each."""
    arguments = parse()
    total = arguments.sessions * arguments.events
    config = ModelConfig(network=arguments.network, hidden_size=arguments.hidden_size)
    vocabulary = Vocabulary(
        [f"item-{i}" for i in range(arguments.items)], np.arange(arguments.items, 0, -1, dtype=np.int64)
    )
    with tempfile.TemporaryDirectory(prefix="nextclick-recovery-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            settings = settings_of_run(
                "recovery",
                address,
                folder,
                web_port=free_port(),
                torch_threads=arguments.torch_threads,
                log_format="json",
            )
            promote_random(settings, config, vocabulary)
            ensure_topics(settings)
            sent = fill(settings, arguments.sessions, arguments.events, arguments.items)
            print(f"{total:,} events in Kafka at {sent:,.0f} events/s", file=sys.stderr)
            worker, _ = start(settings, folder / "first.log")
            try:
                served = Observation(worker.process.pid)
                follow_worker(worker, total, served, timeout_s=120)
            finally:
                worker.stop()
            print(f"served at {served.rate:,.0f} events/s", file=sys.stderr)
            kept = stored(settings)
            worker, restart = start(settings, folder / "restart.log")
            worker.stop()
            settings.state_dir.rename(folder / "lost")
            worker, lost = start(settings, folder / "lost.log")
            worker.stop()
            again = stored(settings)
            reading = plain_reading(settings, total)
    rate = total / lost["stores_s"]
    result = {
        "machine": machine(),
        "network": arguments.network,
        "sessions": arguments.sessions,
        "events": total,
        **kept,
        "served_events_per_s": round(served.rate),
        "served_peak_rss_mib": served.peak_rss_bytes >> 20,
        "restart": restart,
        "lost_disk": {
            **lost,
            **again,
            "sessions_per_s": round(arguments.sessions / lost["stores_s"]),
            "events_per_s": round(rate),
        },
        "plain_reading_events_per_s": round(reading),
        "ratio_to_plain_reading": round(rate / reading, 3),
    }
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
