"""Events posted by HTTP: each goes into Kafka, and its list comes back out of Kafka.

A post is answered when the broker has acknowledged the event and its list has arrived through the
topic, from any worker. Its times are those that a shop would measure.

Tested by tests/browser/test_page.py.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from model.errors import NextclickError
from stream.events import ENDINGS, Event, encode_event, message_time_ms
from stream.kafka.lists_reader import Received
from stream.settings import Settings
from stream.web.list_waiter import ListWaiter

DELIVERY_TIMEOUT_S = 5.0
LIST_TIMEOUT_S = 5.0
THREADS = 4
MOST_UNDER_WAY = 64
# Errors of the record itself: it is refused again, whatever the brokers do.
OF_THE_RECORD = frozenset(
    {KafkaError.INVALID_TIMESTAMP, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD}
)
UNSURE = "Whether it will be in the topic is not sure."


class RefusedByKafka(NextclickError):
    """An event that the brokers refuse for what it is, not for how they are."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(
            f"the brokers refuse the event: {error.str()}",
            "It is not in the topic, and would be refused again.",
            "Send a time and a size within the limits of the events topic.",
        )


@dataclass(frozen=True)
class PostedEvent:
    """An event in Kafka, its list if it came in time, and the milliseconds from the call to each."""

    event_id: str
    received: Received | None
    acknowledged_ms: float
    listed_ms: float | None


class PostedEvents:
    """Posts events and waits for their lists; `posted` counts the acknowledged events."""

    def __init__(self, settings: Settings, list_waiter: ListWaiter) -> None:
        self._settings = settings
        self._list_waiter = list_waiter
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="posted-events")
        self._producer: Producer | None = None
        self._under_way = 0
        self.posted = 0

    @property
    def is_full(self) -> bool:
        """Whether MOST_UNDER_WAY events are under way."""
        return self._under_way >= MOST_UNDER_WAY

    async def open(self, session_id: str) -> None:
        """Start reading the lists of the session. Raises NextclickError when the brokers are away."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._list_waiter.open, session_id)

    async def post(self, event: Event) -> PostedEvent:
        """Send an event and wait for its list. Raises NextclickError when Kafka did not acknowledge it."""
        self._under_way += 1
        try:
            began_s = time.perf_counter()
            if event.kind in ENDINGS:
                event_id = await self._send(event)
                return PostedEvent(event_id, None, _ms_since(began_s), None)
            await self.open(event.session_id)
            self._list_waiter.follow(event.session_id)
            try:
                event_id = await self._send(event)
                acknowledged_ms = _ms_since(began_s)
                listed = asyncio.wrap_future(self._list_waiter.wait_for(event.session_id, event_id))
                try:
                    received = await asyncio.wait_for(listed, LIST_TIMEOUT_S)
                except TimeoutError:
                    return PostedEvent(event_id, None, acknowledged_ms, None)
                return PostedEvent(event_id, received, acknowledged_ms, _ms_since(began_s))
            finally:
                self._list_waiter.leave(event.session_id)
        finally:
            self._under_way -= 1

    async def _send(self, event: Event) -> str:
        event_id = await asyncio.get_running_loop().run_in_executor(self._threads, self._deliver, event)
        self.posted += 1
        return event_id

    def _deliver(self, event: Event) -> str:
        """Produce the event and wait for its acknowledgement. Returns the event id."""
        delivered: list[tuple[KafkaError | None, Message]] = []

        def report(error: KafkaError | None, message: Message) -> None:
            delivered.append((error, message))

        producer = self._open_producer()
        try:
            producer.produce(
                self._settings.events_topic,
                encode_event(event),
                event.session_id.encode(),
                timestamp=message_time_ms(event.event_time_ms),
                on_delivery=report,
            )
        except (BufferError, KafkaException) as problem:
            if isinstance(problem, KafkaException) and problem.args[0].code() in OF_THE_RECORD:
                raise RefusedByKafka(problem.args[0]) from None
            raise NextclickError(f"the event was not sent: {problem}", UNSURE, "Try again.") from None
        deadline_s = time.monotonic() + 2 * DELIVERY_TIMEOUT_S
        while not delivered and time.monotonic() < deadline_s:
            producer.poll(0.02)
        error, message = delivered[0] if delivered else (KafkaError(KafkaError._MSG_TIMED_OUT), None)  # noqa: SLF001
        if error is not None and error.code() in OF_THE_RECORD:
            raise RefusedByKafka(error)
        if error is not None or message is None:
            what = "not known" if error is None else error.str()
            raise NextclickError(
                f"the event was not delivered: {what}", UNSURE, "Try again when the brokers are back."
            )
        return f"{message.partition()}-{message.offset()}"

    def _open_producer(self) -> Producer:
        if self._producer is None:
            config: dict[str, Any] = {
                **self._settings.producer_config(),
                "linger.ms": 0,
                "message.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
                "log_level": 0,
            }
            self._producer = Producer(config)
        return self._producer


def _ms_since(began_s: float) -> float:
    return round((time.perf_counter() - began_s) * 1000, 1)
