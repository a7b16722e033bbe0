"""Milliseconds of an answer at a fixed rate of requests, beside events at a fixed rate, of one worker.

Lists are asked for (every fourth of a placement) and candidates ranked (every fifth request), of sessions
that have just had an event. The schedule is open: an answer's time counts from when it was due, whether or
not the asker or the worker kept up. Events come from a process of its own. With changes, items are sold out
meanwhile, and every answer that was asked for a second after the brokers had the word is held against it.
Weights are random: speed does not depend on what they know.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import orjson

from deploy.benchmarks.latency import GIL_SWITCH_S, first_events, offer, quantiles, worker
from deploy.benchmarks.load.http_connections import HttpConnections
from deploy.benchmarks.measure.process import broker, machine, settings_of_run, show
from deploy.benchmarks.measure.random_champion import promote_random
from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from replay.datasets.event_files import EventFiles
from replay.end_to_end.worker_process import free_port
from stream.catalogue.item_word import ItemWord
from stream.catalogue.items_topic import WordsProducer
from stream.events import Event
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

KINDS = ("recommendations", "placement", "rank")
CANDIDATES = 50
CONNECTIONS = 64
OBEYED_WITHIN_S = 1.0
RULES = '[placement.basket]\nlength = 8\n[[placement.basket.cap]]\nper = "brand"\nmost = 2\n'


@dataclass
class Sold:
    """Items that were sold out, by when the brokers had the word; monotonic seconds."""

    at_s: dict[str, float] = field(default_factory=dict)
    words: int = 0

    def run(self, settings: Settings, items: list[str], per_s: float, stopping: threading.Event) -> None:
        """Sell one item after the other, then speak of others; half of the items stay."""
        producer, to_sell = WordsProducer(settings), items[: len(items) // 2]
        next_s = time.monotonic()
        while not stopping.wait(max(0.0, next_s - time.monotonic())):
            item = to_sell.pop() if to_sell else f"of another shop {self.words}"
            producer.send(item, ItemWord(available=False))
            producer.flush()
            self.at_s[item] = time.monotonic()
            self.words += 1
            next_s += 1 / per_s

    def violations(self, items: list[str], asked_s: float) -> int:
        """How many of the items had been sold out a second before they were asked for."""
        return sum(self.at_s.get(item, asked_s) < asked_s - OBEYED_WITHIN_S for item in items)


class Asker:
    """Asks when requests are due, and notes how long each took, since it was due."""

    def __init__(self, address: str, events: list[Event], items: list[str], sold: Sold) -> None:
        self._address, self._events, self._items, self._sold = address, events, items, sold
        self._choose = random.Random(1)
        self.took_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.statuses: Counter[str] = Counter()
        self.fallbacks = self.checked = self.violations = 0

    async def ask(self, rate: float, seconds: float, warm_up_s: float, events_per_s: float) -> None:
        """Ask for so long, after a warm-up that is left out."""
        started_s = time.monotonic()
        async with HttpConnections(self._address, CONNECTIONS) as client, asyncio.TaskGroup() as tasks:
            for number in range(int(rate * (warm_up_s + seconds))):
                due_s = started_s + number / rate
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                sent = int((due_s - started_s) * events_per_s)
                # One that has had its event lately; the very first have not.
                place = max(0, min(sent, len(self._events)) - 1 - self._choose.randrange(200))
                tasks.create_task(
                    self._one(
                        client, number, self._events[place].session_id, due_s, number >= rate * warm_up_s
                    )
                )

    async def _one(
        self, client: HttpConnections, number: int, session_id: str, due_s: float, counts: bool
    ) -> None:
        kind = "rank" if number % 5 == 4 else ("placement" if number % 4 == 3 else "recommendations")
        path, asked_s = f"/api/recommendations/{quote(session_id)}", time.monotonic()
        try:
            if kind == "rank":
                body = {"session": session_id, "candidates": self._choose.sample(self._items, CANDIDATES)}
                code, content = await client.ask("POST", "/api/rank", orjson.dumps(body))
            else:
                asked = f"{path}?placement=basket" if kind == "placement" else path
                code, content = await client.ask("GET", asked)
            found, status = orjson.loads(content), str(code)
        except OSError as error:
            found, status = {}, type(error).__name__
        if not counts:
            return
        self.statuses[status] += 1
        self.took_ms[kind].append(1000 * (time.monotonic() - due_s))
        self.fallbacks += bool(found.get("fallback"))
        if kind != "rank" and "items" in found:
            self.checked += 1
            self.violations += self._sold.violations([row["item_id"] for row in found["items"]], asked_s)

    def result(self) -> dict[str, Any]:
        """Milliseconds by kind, what was answered, and how many items were there that had been sold."""
        every = [took for kind in KINDS for took in self.took_ms[kind]]
        return {
            "answer_ms": quantiles(np.array(every)),
            **{f"{kind}_ms": quantiles(np.array(self.took_ms[kind])) for kind in KINDS},
            "answers": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "popular": self.fallbacks,
            "lists_checked": self.checked,
            "sold_items_listed": self.violations,
        }


def main() -> int:
    """Ask beside events; print all."""
    parser = argparse.ArgumentParser(
        prog="nextclick bench ask",
        description=__doc__.split("\n\n")[0],
        epilog="example: nextclick bench ask clicks.csv.xz --requests 500 --rate 500 --changes 100",
    )
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--requests", type=float, default=500, help="per second")
    parser.add_argument("--rate", type=float, default=500, help="events per second")
    parser.add_argument("--changes", type=float, default=0, help="items sold out per second")
    parser.add_argument("--seconds", type=float, default=60, help="measured, after the warm-up")
    parser.add_argument("--warm-up-s", type=float, default=5, help="asked before, and left out")
    parser.add_argument("--hidden-size", type=int, default=100)
    parser.add_argument("--bootstrap-servers", help="default: a broker of its own, by deploy/kafka.sh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_S)
    frame = EventFiles(arguments.files).load()
    lasts_s = arguments.warm_up_s + arguments.seconds
    events = first_events(parser, frame, int(arguments.rate * lasts_s))
    config, vocabulary = ModelConfig(hidden_size=arguments.hidden_size), Vocabulary.from_frame(frame)
    items = [item for item in vocabulary.item_ids.tolist() if item is not None]
    if len(items) < CANDIDATES:
        parser.error(f"{CANDIDATES} items are needed, the log has {len(items)}")
    with tempfile.TemporaryDirectory(prefix="nextclick-ask-") as temporary:
        folder = Path(temporary)
        (folder / "rules.toml").write_text(RULES)
        with broker(arguments.bootstrap_servers, folder) as (address, _):
            port = free_port()
            settings = settings_of_run(
                "ask", address, folder, web_port=port, rules=folder / "rules.toml",
                web_requests_per_s=10 * arguments.requests,
            )  # fmt: skip
            promote_random(settings, config, vocabulary)
            ensure_topics(settings, optional=True)
            sold, stopping = Sold(), threading.Event()
            asker = Asker(f"http://127.0.0.1:{port}", events, items, sold)
            selling = threading.Thread(
                target=sold.run, args=(settings, items, arguments.changes, stopping), daemon=True
            )
            spawn = multiprocessing.get_context("spawn")
            with worker(settings, folder), ProcessPoolExecutor(1, mp_context=spawn) as process:
                # Started before the events are due, so that both begin together.
                process.submit(int).result()
                warm_up = int(arguments.rate * arguments.warm_up_s)
                offered = process.submit(offer, settings, events, arguments.rate, warm_up)
                if arguments.changes:
                    selling.start()
                try:
                    asyncio.run(
                        asker.ask(arguments.requests, arguments.seconds, arguments.warm_up_s, arguments.rate)
                    )
                    event_to_list_ms = offered.result()
                finally:
                    stopping.set()
                    if arguments.changes:
                        selling.join()
    result = {
        "machine": machine(),
        "requests_per_s": arguments.requests,
        "events_per_s": arguments.rate,
        "changes_per_s": arguments.changes,
        "changes": sold.words,
        "seconds": arguments.seconds,
        "items": len(vocabulary),
        "hidden_size": config.hidden_size,
        **asker.result(),
        "event_to_list_ms": event_to_list_ms,
    }
    show(result, arguments.json, json.dumps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
