"""Milliseconds from event to list at a fixed rate, Kafka both ways, beside a bare echo of the same run.

One process sends real events and receives the lists, so that one monotonic clock times both. The
schedule is open: an event's latency counts from when it was due, whether or not the sender or
the worker kept up (no coordinated omission). Event and list are joined by `event_id`, the
partition and offset of the event's delivery report. The first seconds, in which caches and
batches settle, are sent and left out. The floor is the same with a minimal librdkafka process,
which answers each record with one of a list's size, in place of the worker: before it and after
it, since a young broker is slower and a shared machine is uneven. Weights are random: speed does
not depend on what they know. Events keep their own event times, however fast they are offered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from deploy.benchmarks.measure.process import ROOT, broker, machine, settings_of_run, show
from deploy.benchmarks.measure.random_champion import promote_random
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.encoding import events_of
from stream.events import Event, encode_event, encode_recommendation
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from stream.worker.sink import lists_config

QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
LAST_LIST_S = 30.0
POLL_S = 0.05
# Two threads share this process's GIL; at the default of 5 ms they would time each other.
GIL_SWITCH_S = 0.0002


class ListId(msgspec.Struct):
    """What is read of a list, or of an echo."""

    event_id: str
    model_version: str = ""


class Receiver(threading.Thread):
    """Notes when each list arrives, and the first one of each version."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.arrived_ns: dict[str, int] = {}
        self.first_ns: dict[str, int] = {}
        self._stopping = threading.Event()
        self._consumer = Consumer(
            {**settings.kafka_config(), "group.id": f"{settings.group_id}-lists", "enable.auto.commit": False}
        )
        topic = settings.recommendations_topic
        tps = [TopicPartition(topic, number) for number in range(settings.partitions)]
        for tp in tps:
            tp.offset = self._consumer.get_watermark_offsets(tp)[1]
        self._consumer.assign(tps)

    def run(self) -> None:
        """Until stopped."""
        decode = msgspec.json.Decoder(ListId).decode
        while not self._stopping.is_set():
            message = self._consumer.poll(POLL_S)
            now_ns = time.monotonic_ns()
            if message is None or message.error() is not None:
                continue
            # The first counts: at least once means that one may come again.
            shown = decode(message.value() or b"")
            self.arrived_ns.setdefault(shown.event_id, now_ns)
            self.first_ns.setdefault(shown.model_version, now_ns)
        self._consumer.close()

    def wait_for(self, events: int) -> None:
        """Return when so many events have a list, or LAST_LIST_S after the call."""
        deadline_s = time.monotonic() + LAST_LIST_S
        while len(self.arrived_ns) < events and time.monotonic() < deadline_s:
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.join()


class Sender:
    """Sends events when they are due, and learns their ids from the delivery reports."""

    def __init__(self, settings: Settings, rate: float) -> None:
        self._topic = settings.events_topic
        self._period_ns = 1e9 / rate
        # As the lists go out: with several requests under way librdkafka polls without pause.
        self._producer = Producer(lists_config(settings))
        self.due_ns: dict[str, int] = {}
        self.latest_ns = 0

    def send(self, events: list[Event]) -> None:
        """Send all, the first one at once. Raises NextclickError when one is refused."""
        start_ns = time.monotonic_ns()
        for number, event in enumerate(events):
            due_ns = start_ns + int(number * self._period_ns)
            while (early_ns := due_ns - time.monotonic_ns()) > 0:
                self._producer.poll(0)
                time.sleep(min(early_ns / 1e9, 0.001))
            self.latest_ns = max(self.latest_ns, -early_ns)
            self._producer.produce(
                self._topic,
                encode_event(event),
                event.session_id.encode(),
                timestamp=event.event_time_ms,
                on_delivery=self._reporter(due_ns),
            )
            self._producer.poll(0)
        self._producer.flush(LAST_LIST_S)
        if len(self.due_ns) != len(events):
            raise NextclickError(
                f"{len(events) - len(self.due_ns)} of {len(events)} events were not delivered",
                "Their latency is not known.",
                "Look at the broker.",
            )

    def _reporter(self, due_ns: int) -> Any:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.due_ns[f"{message.partition()}-{message.offset()}"] = due_ns

        return delivered


def first_events(parser: argparse.ArgumentParser, frame: pd.DataFrame, wanted: int) -> list[Event]:
    """The log's first events; ends the program when there are not so many."""
    events = list(islice(events_of(frame.head(wanted)), wanted))
    if len(events) < wanted:
        parser.error(f"{wanted} events are needed for this rate and time, the log has {len(events)}")
    return events


def offer(settings: Settings, events: list[Event], rate: float, warm_up: int) -> dict[str, Any]:
    """Send `events` at `rate` to whoever answers; → latencies in ms, without the first `warm_up` events."""
    receiver, sender = Receiver(settings), Sender(settings, rate)
    receiver.start()
    try:
        sender.send(events)
        receiver.wait_for(len(events))
    finally:
        receiver.stop()
    # By the time due: the delivery reports of several partitions come in any order.
    due_ns = sorted(sender.due_ns.items(), key=lambda item: item[1])[warm_up:]
    took_ms = np.array(
        [(receiver.arrived_ns[i] - due) / 1e6 for i, due in due_ns if i in receiver.arrived_ns]
    )
    return {
        **quantiles(took_ms),
        "measured": len(took_ms),
        "unanswered": len(due_ns) - len(took_ms),
        "sender_latest_ms": round(sender.latest_ns / 1e6, 2),
    }


def quantiles(took_ms: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """Of the latencies; each is one that occurred."""
    if not len(took_ms):
        return dict.fromkeys(QUANTILES)
    values = np.percentile(took_ms, list(QUANTILES.values()), method="higher")
    return {name: round(float(value), 2) for name, value in zip(QUANTILES, values, strict=True)}


@contextmanager
def echo(settings: Settings, list_bytes: int) -> Iterator[None]:
    """The minimal process, while it answers."""
    command = [
        *(sys.executable, str(ROOT / "deploy" / "benchmarks" / "measure" / "kafka_echo.py")),
        *("--bootstrap-servers", settings.bootstrap_servers, "--events-topic", settings.events_topic),
        *("--recommendations-topic", settings.recommendations_topic),
        *("--partitions", str(settings.partitions), "--list-bytes", str(list_bytes)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise NextclickError(
                    f"the echo ended with code {process.wait()}",
                    "There is nothing to hold the worker against.",
                    "Look at its words above.",
                )
            yield
        finally:
            process.terminate()


@contextmanager
def worker(settings: Settings, folder: Path) -> Iterator[WorkerProcess]:
    """A worker, while it serves; its log is in the folder."""
    process = WorkerProcess(settings, folder / "worker.log")
    try:
        process.wait_ready()
        yield process
        process.check()
    finally:
        process.stop()


def main() -> int:
    """Offer the events to the echo, to the worker, and to the echo again; print all."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench latency",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench latency clicks.csv.xz --rate 500 --seconds 60",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--rate", type=float, default=500, help="events per second")
    parser.add_argument("--seconds", type=float, default=60, help="measured, after the warm-up")
    parser.add_argument("--warm-up-s", type=float, default=5, help="sent before, and left out")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--wave-wait-ms", type=float, help="the worker's; default: its own")
    parser.add_argument("--torch-threads", type=int, help="of the worker; default: 1")
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_S)
    frame: pd.DataFrame = EventFiles(arguments.files).load()
    warm_up = int(arguments.rate * arguments.warm_up_s)
    events = first_events(parser, frame, warm_up + int(arguments.rate * arguments.seconds))
    config = ModelConfig(hidden_size=arguments.hidden_size)
    vocabulary = Vocabulary.from_frame(frame)
    with tempfile.TemporaryDirectory(prefix="nextclick-latency-") as temporary:
        folder = Path(temporary)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            changes = {
                "web_port": free_port(),
                "wave_wait_ms": arguments.wave_wait_ms,
                "torch_threads": arguments.torch_threads,
            }
            settings = settings_of_run("latency", address, folder, **changes)
            bare = settings_of_run("echo", address, folder)
            version = promote_random(settings, config, vocabulary)
            ensure_topics(settings)
            ensure_topics(bare)
            first = events[0]
            items = vocabulary.decode(np.arange(20))
            scores = torch.rand(20).numpy()
            like = encode_recommendation(first.session_id, "0-0", first.event_time_ms, version, items, scores)
            with echo(bare, len(like)):
                before_ms = offer(bare, events, arguments.rate, warm_up)
            with worker(settings, folder):
                worker_ms = offer(settings, events, arguments.rate, warm_up)
            with echo(bare, len(like)):
                after_ms = offer(bare, events, arguments.rate, warm_up)
    result = {
        "machine": machine(),
        "events_per_s": arguments.rate,
        "seconds": arguments.seconds,
        "warm_up_s_left_out": arguments.warm_up_s,
        "items": len(vocabulary),
        "hidden_size": config.hidden_size,
        "wave_wait_ms": settings.wave_wait_ms,
        "list_bytes": len(like),
        "worker_ms": worker_ms,
        "kafka_alone_before_ms": before_ms,
        "kafka_alone_after_ms": after_ms,
    }
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
