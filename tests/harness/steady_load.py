"""A steady load on a worker under test: real events at a fixed rate, from a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

import pandas as pd
from confluent_kafka import Producer

from replay.sending.encoding import events_of
from stream.events import encode_event
from stream.settings import Settings


class SteadyLoad(threading.Thread):
    """A context in which a log is sent, `rate` events per second.

    `stops` are parts of the log, each from 0 to 1. There the load waits for `release`, so that what
    a test does before it comes before the events after the stop, on a slow machine as on a fast one.
    """

    def __init__(
        self, settings: Settings, frame: pd.DataFrame, rate: float, stops: Sequence[float] = ()
    ) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._frame = frame
        self._period_s = 1 / rate
        self._stops = {int(part * len(frame)) for part in stops}
        self._released = threading.Semaphore(0)
        self._ending = threading.Event()

    def __enter__(self) -> SteadyLoad:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ending.set()
        self.send_the_rest()

    def release(self) -> None:
        """Let it go on after the stop at which it waits, or will wait."""
        self._released.release()

    def send_the_rest(self) -> None:
        """Pass every stop, and return when all is sent."""
        self._released.release(len(self._stops) + 1)
        self.join()

    def run(self) -> None:
        """Send all, each when it is due."""
        producer = Producer({**self._settings.producer_config(), "linger.ms": 1})
        due_s = time.monotonic()
        for number, event in enumerate(events_of(self._frame)):
            if number in self._stops:
                assert producer.flush(120) == 0
                self._released.acquire()
                due_s = time.monotonic()
            early_s = due_s - time.monotonic()
            if self._ending.wait(max(early_s, 0)):
                break
            due_s += self._period_s
            producer.produce(
                self._settings.events_topic,
                encode_event(event),
                event.session_id.encode(),
                timestamp=event.event_time_ms,
            )
            producer.poll(0)
        assert producer.flush(120) == 0
