"""Event frames into Kafka: every delivery acknowledged, order within a session kept.

Key = session id, message timestamp = event time. The producer is idempotent, so that a
retry neither repeats nor reorders; one refused record stops the replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from model.errors import NextclickError
from replay.sending.encoding import EncodedEvents
from stream.events import Event, encode_event, message_time_ms
from stream.kafka.connection import ANSWER_TIMEOUT_S, metadata, remedy_for
from stream.kafka.retries import retry_while_away
from stream.settings import Settings

STANDSTILL_S = 120.0
QUEUE_FULL_POLL_S = 0.05
FLUSH_POLL_S = 1.0
LAG_POLL_S = 0.02
POLL_EVERY = 512
# What may wait for brokers that take no more: a fifth of a second at full speed, and some 20 MB of memory.
QUEUE = {"queue.buffering.max.messages": 50_000, "queue.buffering.max.kbytes": 32_768}
# librdkafka then places a record by its key.
ANY_PARTITION = -1


class EventProducer:
    """Sends events and knows how many are sure.

    Only what is refused is reported by librdkafka, a third of the work of a report for each;
    what it has neither queued nor refused is sure. `on_full` is called whenever the queue
    is full and has been waited for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: Producer | None = None,
        on_full: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = settings.events_topic
        self._on_full = on_full
        # A producer without waiting records is false.
        self._producer = (
            client
            if client is not None
            else Producer(
                {
                    **settings.producer_config(),
                    "linger.ms": 5,
                    **QUEUE,
                    "delivery.report.only.error": True,
                    # A record that timed out could be overtaken by its session's next one: none does.
                    "message.timeout.ms": 0,
                }
            )
        )
        if client is None:
            metadata(self._producer, settings, settings.events_topic)
        self._now_s = now_s
        self._moved_s, self._sure_before = now_s(), 0
        self.sent = 0
        self._refused = 0
        self._error: KafkaError | None = None

    @property
    def sure(self) -> int:
        """How many of the events sent the brokers have acknowledged."""
        return self.sent - len(self._producer) - self._refused

    @property
    def waiting(self) -> int:
        """How many events the brokers have not answered yet."""
        return len(self._producer)

    def send(self, event: Event) -> None:
        """Queue one event; waits while the queue is full. Raises NextclickError after a refused delivery."""
        self.send_all(
            EncodedEvents(
                [event.session_id.encode()], [encode_event(event)], [message_time_ms(event.event_time_ms)]
            )
        )

    def send_all(self, events: EncodedEvents) -> None:
        """Queue events in order; waits while the queue is full.

        Raises NextclickError after a refused delivery.
        """
        produce, topic, delivered, sent = self._producer.produce, self._topic, self._delivered, self.sent
        for key, value, time_ms in events.records():
            while True:
                try:
                    # By position: by name the call takes half as long again. The library takes
                    # `on_delivery`, which comes behind its twin `callback`, only where that is not given.
                    produce(topic, value, key, ANY_PARTITION, delivered, None, time_ms)
                    break
                except BufferError:
                    self.sent = sent
                    self.poll(QUEUE_FULL_POLL_S)
                    self._on_full()
                except KafkaException as error:
                    self.sent = sent
                    self._error = self._error or error.args[0]
                    self._raise_error()
            sent += 1
            if sent % POLL_EVERY == 0:
                self.sent = sent
                self.poll()
        self.sent = sent

    def poll(self, wait_s: float = 0.0) -> None:
        """Take delivery reports, at most `wait_s` for the first one.

        Raises NextclickError after a refused delivery, and when the brokers are silent for long.
        """
        self._producer.poll(wait_s)
        self._raise_error()
        sure = self.sure
        if sure != self._sure_before or sure == self.sent:
            self._sure_before, self._moved_s = sure, self._now_s()
        elif self._now_s() - self._moved_s > STANDSTILL_S:
            raise NextclickError(
                f"{self.waiting} events wait, and none was acknowledged for {STANDSTILL_S:.0f} s",
                f"{sure} of {self.sent} are sure.",
                "Look at the brokers, then replay again.",
            )

    def flush(self) -> None:
        """Wait until every event sent is sure. Raises NextclickError when that does not happen."""
        while self.waiting:
            self._producer.flush(FLUSH_POLL_S)
            self._raise_error()
            self.poll()
        self._raise_error()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused += 1
            self._error = self._error or error

    def _raise_error(self) -> None:
        if self._error is not None:
            # What is still queued is given up, so that the count below is the last word.
            self._producer.purge()
            self._producer.flush(ANSWER_TIMEOUT_S)
            raise NextclickError(
                f"an event was not delivered to {self._topic}: {self._error.str()}",
                f"{self.sure} of {self.sent} are sure.",
                remedy_for(self._error, "Look at the brokers and at the topic, then replay again."),
            )


class LagLimit:
    """Holds a replay back while a consumer group is too far behind."""

    def __init__(
        self,
        settings: Settings,
        limit: int,
        *,
        check_every: int = 500,
        client: Consumer | None = None,
    ) -> None:
        self._settings = settings
        self._limit = limit
        self._check_every = check_every
        self._sent = 0
        self._consumer = client or Consumer(
            {**settings.kafka_config(), "group.id": settings.group_id, "enable.auto.commit": False}
        )

    def lag(self) -> int:
        """Records that the group has not committed yet. Raises NextclickError without an answer."""
        return retry_while_away(
            self._ask,
            f"asking for the lag of group {self._settings.group_id}",
            meaning="The replay cannot tell whether it may go on.",
            remedy="Look at the brokers, or replay without --lag-limit.",
        )

    def _ask(self) -> int:
        topic = self._settings.events_topic
        partitions = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
        lag = 0
        for partition in self._consumer.committed(partitions, timeout=ANSWER_TIMEOUT_S):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition.partition), timeout=ANSWER_TIMEOUT_S
            )
            # Without a commit the offset is negative: everything kept lies before the group.
            lag += high - max(partition.offset, low)
        return lag

    def hold(self, producer: EventProducer, sent: int = 1) -> None:
        """Called with the number of events sent since; returns at once but for every so manyth."""
        before, self._sent = self._sent, self._sent + sent
        if before // self._check_every == self._sent // self._check_every:
            return
        while self.lag() > self._limit:
            producer.poll(LAG_POLL_S)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
