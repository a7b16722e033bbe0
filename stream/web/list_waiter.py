"""Waits for the lists of a few sessions, which any worker may publish.

One thread consumes the partitions of these sessions and decodes only the lists of followed sessions.
It closes its consumer after IDLE_S without a followed session, and starts again after a failure.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from model.errors import NextclickError
from stream.events import decode_recommendation
from stream.kafka.lists_reader import Received, received_of
from stream.kafka.partitioner import partition_of
from stream.logs import happening
from stream.settings import Settings

ANSWER_TIMEOUT_S = 5.0
IDLE_S = 30.0
POLL_S = 0.02
logger = logging.getLogger(__name__)


@dataclass
class FollowedSession:
    """The lists that came for a session and the futures that wait for one, by event id."""

    lists: dict[str, Received] = field(default_factory=dict)
    waiting: dict[str, Future[Received]] = field(default_factory=dict)
    users: int = 0


class ListWaiter:
    """`follow` a session before its event is sent, `wait_for` the list, then `leave`; from any thread.

    >>> waiter = ListWaiter(Settings())
    >>> waiter.follow("session")
    >>> waiter.wait_for("session", "0-7").done()
    False
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Condition()
        self._followed: dict[bytes, FollowedSession] = {}
        self._wanted: set[int] = set()
        self._assigned: set[int] = set()
        self._failure: KafkaException | None = None
        self._used_s = 0.0
        self._thread: threading.Thread | None = None

    def open(self, session_id: str) -> None:
        """Read the lists of the session's partition from the current end; returns once they are read.

        Raises NextclickError when no broker answers.
        """
        number = partition_of(session_id, self._settings.partitions)
        with self._lock:
            self._used_s = time.monotonic()
            self._failure = None
            self._wanted.add(number)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="list-watch", daemon=True)
                self._thread.start()
            done = self._lock.wait_for(
                lambda: number in self._assigned or self._failure is not None, ANSWER_TIMEOUT_S + 1
            )
            if not done or self._failure is not None:
                raise NextclickError(
                    "no Kafka broker answered",
                    "Where a session's lists are read from is not known.",
                    "Try again when the brokers are back.",
                )

    def follow(self, session_id: str) -> None:
        """Keep every list of the session that arrives from now on."""
        with self._lock:
            self._used_s = time.monotonic()
            self._followed.setdefault(session_id.encode(), FollowedSession()).users += 1

    def wait_for(self, session_id: str, event_id: str) -> Future[Received]:
        """A future of the list of this event; the session must be followed."""
        future: Future[Received] = Future()
        with self._lock:
            followed = self._followed[session_id.encode()]
            if event_id in followed.lists:
                future.set_result(followed.lists[event_id])
            else:
                followed.waiting[event_id] = future
        return future

    def leave(self, session_id: str) -> None:
        """End one `follow`; the last one drops the session's lists."""
        with self._lock:
            followed = self._followed[session_id.encode()]
            followed.users -= 1
            if not followed.users:
                del self._followed[session_id.encode()]

    def _run(self) -> None:
        try:
            consumer = Consumer(
                {
                    **self._settings.kafka_config(),
                    "group.id": f"{self._settings.group_id}-watch",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "latest",
                    "fetch.wait.max.ms": 10,
                    "log_level": 0,
                }
            )
            try:
                while self._read(consumer):
                    pass
            finally:
                consumer.close()
        except KafkaException as error:
            logger.warning(
                "waiting for lists failed: %s", error, extra=happening("list_watch_failed", error=str(error))
            )
            with self._lock:
                self._failure = error
                self._reset()

    def _read(self, consumer: Consumer) -> bool:
        """Assign wanted partitions and deliver the lists that came. Returns False when idle for IDLE_S."""
        with self._lock:
            if not self._followed and time.monotonic() - self._used_s > IDLE_S:
                self._reset()
                return False
            new = self._wanted - self._assigned
        for number in new:
            place = TopicPartition(self._settings.recommendations_topic, number)
            place.offset = consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT_S)[1]
            consumer.incremental_assign([place])
            with self._lock:
                self._assigned.add(number)
                self._lock.notify_all()
        # `consume` alone would wait until its batch is full.
        first = consumer.poll(POLL_S)
        if first is not None:
            self._deliver_followed([first, *consumer.consume(500, timeout=0)])
        return True

    def _reset(self) -> None:
        self._wanted.clear()
        self._assigned.clear()
        self._thread = None
        self._lock.notify_all()

    def _deliver_followed(self, messages: list[Message]) -> None:
        followed = self._followed
        for message in messages:
            # An error means that the brokers are away: the client reconnects by itself.
            if message.error() is not None or message.key() not in followed:
                continue
            try:
                received = received_of(message, decode_recommendation(message.value() or b""))
            except msgspec.DecodeError:
                continue
            self.deliver(message.key() or b"", received)

    def deliver(self, key: bytes, received: Received) -> None:
        """Resolve the future that waits for the list, or keep the list for a later `wait_for`.

        The list of a session that is not followed is dropped.
        """
        with self._lock:
            session = self._followed.get(key)
            if session is None:
                return
            event_id = received.recommendation.event_id
            session.lists[event_id] = received
            waiting = session.waiting.pop(event_id, None)
        # A cancelled future is left alone.
        if waiting is not None and waiting.set_running_or_notify_cancel():
            waiting.set_result(received)
