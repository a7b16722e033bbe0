"""The load of the endurance run: events at a steady rate, and the lists that return, on one clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from deploy.benchmarks.latency import ListId
from replay.sending.encoding import events_of
from stream.events import encode_event
from stream.settings import Settings
from stream.worker.sink import lists_config

LAST_LIST_S = 60.0
ROUND_GAP_MS = 86_400_000


class Clock:
    """When each event was due and when its first list arrived, by partition and offset, in monotonic ns."""

    def __init__(self, partitions: int, events: int) -> None:
        self.due_ns = np.zeros((partitions, events), np.int64)
        self.arrived_ns = np.zeros((partitions, events), np.int64)
        self.lists = 0

    def add_list(self, event_id: str, now_ns: int) -> None:
        """Note that a list arrived; only the first list of an event counts."""
        partition, offset = map(int, event_id.split("-"))
        if not self.arrived_ns[partition, offset]:
            self.arrived_ns[partition, offset] = now_ns
            self.lists += 1

    def delays_ms(self, from_ns: int, until_ns: int) -> npt.NDArray[np.float64]:
        """Delays of the events that were due in a span and have a list, in ms."""
        chosen = (self.due_ns >= from_ns) & (self.due_ns < until_ns) & (self.arrived_ns > 0)
        return np.asarray((self.arrived_ns[chosen] - self.due_ns[chosen]) / 1e6, np.float64)


def rounds(frame: pd.DataFrame, events: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, value and event time of `events` events: the log, repeated as often as needed."""
    length_ms = int(frame["event_time_ms"].iloc[-1] - frame["event_time_ms"].iloc[0]) + ROUND_GAP_MS
    sent = number = 0
    while sent < events:
        for begin in range(0, len(frame), 50_000):
            part = frame.iloc[begin : begin + 50_000]
            if number:
                part = part.assign(
                    session_id=part["session_id"] + f"-{number}",
                    event_time_ms=part["event_time_ms"] + number * length_ms,
                )
            for event in events_of(part):
                yield event.session_id.encode(), encode_event(event), event.event_time_ms
                sent += 1
                if sent == events:
                    return
        number += 1


class Load(threading.Thread):
    """Sends the events, each when it is due. `failure` says why it ended early."""

    def __init__(
        self, settings: Settings, clock: Clock, frame: pd.DataFrame, rate: float, count: int
    ) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._clock = clock
        self._events = rounds(frame, count)
        self._period_ns = 1e9 / rate
        self.sent = self.acknowledged = 0
        self.latest_ns = 0
        self.failure: str | None = None

    def run(self) -> None:
        """Until all is delivered, or one is refused."""
        producer = Producer(lists_config(self._settings))
        start_ns = time.monotonic_ns()
        for number, (key, value, time_ms) in enumerate(self._events):
            due_ns = start_ns + int(number * self._period_ns)
            while (early_ns := due_ns - time.monotonic_ns()) > 0:
                producer.poll(0)
                time.sleep(min(early_ns / 1e9, 0.001))
            self.latest_ns = max(self.latest_ns, -early_ns)
            producer.produce(
                self._settings.events_topic, value, key, timestamp=time_ms, on_delivery=self._note(due_ns)
            )
            self.sent += 1
            if self.failure:
                return
        producer.flush(LAST_LIST_S)

    def _note(self, due_ns: int) -> Any:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.failure = error.str()
                return
            self._clock.due_ns[message.partition() or 0, message.offset() or 0] = due_ns
            self.acknowledged += 1

        return delivered


class Receiver(threading.Thread):
    """Notes each list's arrival, and when each version's first one came."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(daemon=True)
        self._clock = clock
        self.stopping = threading.Event()
        self.first_ns: dict[str, int] = {}
        self._consumer = Consumer(
            {**settings.kafka_config(), "group.id": f"{settings.group_id}-lists", "enable.auto.commit": False}
        )
        topic = settings.recommendations_topic
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(settings.partitions)])

    def run(self) -> None:
        """Until stopped."""
        decode = msgspec.json.Decoder(ListId).decode
        while not self.stopping.is_set():
            for message in self._consumer.consume(100, timeout=0.005):
                now_ns = time.monotonic_ns()
                if message.error() is None:
                    shown = decode(message.value() or b"")
                    self._clock.add_list(shown.event_id, now_ns)
                    self.first_ns.setdefault(shown.model_version, now_ns)
        self._consumer.close()
