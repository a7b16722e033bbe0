"""Traffic that does not end: shoppers who walk from item to item, at a steady rate, until told otherwise.

What they do can be changed while they do it: stand still, click items that no model knows, tell one and the
same time. A model of the same walk is trained from `walk_frame`.
"""

from __future__ import annotations

import random
import threading
import time
import uuid

import pandas as pd
from confluent_kafka import KafkaError, Message, Producer

from model.errors import NextclickError
from stream.events import Event, encode_event
from stream.settings import Settings

ITEMS = 60
SHOPPERS = 300
# The chance that a shopper goes after a click, and that the next item is the one that mostly follows.
LEAVES, FOLLOWS = 0.15, 0.7
TICK_S = 0.05
FLUSH_S = 120.0
# The client's own log would repeat every failed connection.
QUIET = {"log_level": 0}


class Traffic:
    """Events at `rate` a second in a thread of its own; `begin` starts it, `end` waits for the last event."""

    def __init__(self, settings: Settings, rate: float, seed: int = 0) -> None:
        self._topic = settings.events_topic
        self._rate = rate
        self._producer = Producer({**settings.producer_config(), **QUIET})
        self._random = random.Random(seed)
        self._name = uuid.uuid4().hex[:6]
        self._shoppers = [self._new_shopper() for _ in range(SHOPPERS)]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._refused: list[str] = []
        self.paused = False
        self.unknown_items = False
        # Milliseconds since 1970 that every event tells; None: the time at which it is sent.
        self.stamp_ms: int | None = None

    def begin(self) -> None:
        """Start to send."""
        self._thread.start()

    def end(self) -> None:
        """Send no more, and wait until Kafka has what was sent. Raises NextclickError when it has not."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        left = self._producer.flush(FLUSH_S)
        if left or self._refused:
            raise NextclickError(
                f"{left + len(self._refused)} events of the traffic were not delivered: {self._refused[:1]}",
                "What is counted as lost or late would be the sender's fault.",
                "Look at the broker's log.",
            )

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._ended.wait(TICK_S):
            now_s = time.monotonic()
            if self.paused:
                due_s = now_s
            while due_s < now_s:
                self._send()
                due_s += 1 / self._rate
            self._producer.poll(0)

    def _send(self) -> None:
        number = self._random.randrange(SHOPPERS)
        session_id, item = self._shoppers[number]
        time_ms = self.stamp_ms or int(time.time() * 1000)
        name = f"gone-{item}" if self.unknown_items else f"i{item}"
        event = Event(session_id, time_ms, name)
        self._producer.produce(
            self._topic, encode_event(event), session_id.encode(), on_delivery=self._delivered
        )
        leaves = self._random.random() < LEAVES
        self._shoppers[number] = self._new_shopper() if leaves else (session_id, _next(item, self._random))

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(error.str())

    def _new_shopper(self) -> tuple[str, int]:
        return f"{self._name}-{self._random.getrandbits(48):x}", self._random.randrange(ITEMS)


def walk_frame(sessions: int, newest_ms: int, seed: int = 1) -> pd.DataFrame:
    """Sessions of such shoppers in the hours before `newest_ms`, as a log to train on.

    >>> frame = walk_frame(50, 1_700_000_000_000)
    >>> frame["session_id"].nunique(), bool((frame["event_time_ms"] <= 1_700_000_000_000).all())
    (50, True)
    """
    choice = random.Random(seed)
    rows = []
    for session in range(sessions):
        length = 2 + min(20, int(choice.expovariate(LEAVES)))
        item, time_ms = choice.randrange(ITEMS), newest_ms - choice.randrange(7_200_000) - 20_000 * length
        for step in range(length):
            rows.append((f"t{session}", f"i{item}", time_ms + 20_000 * step, "view"))
            item = _next(item, choice)
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms", "kind"])
    return frame.sort_values("event_time_ms", kind="stable", ignore_index=True)


def _next(item: int, choice: random.Random) -> int:
    return (7 * item + 3) % ITEMS if choice.random() < FOLLOWS else choice.randrange(ITEMS)
