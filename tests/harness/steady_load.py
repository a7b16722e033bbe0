"""A steady load on a worker under test: real events at a fixed rate, from a thread."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import pandas as pd
from confluent_kafka import Producer

from replay.sending.encoding import events_of
from stream.events import encode_event
from stream.settings import Settings


class SteadyLoad(threading.Thread):
    """A context in which a log is sent, `rate` events per second."""

    def __init__(self, settings: Settings, frame: pd.DataFrame, rate: float) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._frame = frame
        self._period_s = 1 / rate
        self._ending = threading.Event()

    def __enter__(self) -> SteadyLoad:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ending.set()
        self.join()

    @property
    def is_sending(self) -> bool:
        """Whether there are events to come."""
        return self.is_alive()

    def run(self) -> None:
        """Send all, each when it is due."""
        producer = Producer({**self._settings.producer_config(), "linger.ms": 1})
        start_s = time.monotonic()
        for number, event in enumerate(events_of(self._frame)):
            early_s = start_s + number * self._period_s - time.monotonic()
            if early_s > 0 and self._ending.wait(early_s):
                break
            producer.produce(
                self._settings.events_topic,
                encode_event(event),
                event.session_id.encode(),
                timestamp=event.event_time_ms,
            )
            producer.poll(0)
        assert producer.flush(30) == 0
