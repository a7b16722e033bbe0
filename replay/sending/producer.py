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
from stream.kafka.consumers import outside_consumer
from stream.kafka.retries import retry_while_away
from stream.settings import Settings

STANDSTILL_S = 120.0
QUEUE_FULL_POLL_S = 0.05
FLUSH_POLL_S = 1.0
LAG_POLL_S = 0.02
POLL_EVERY = 512
# What may wait in the queue: a fifth of a second at full speed, and some 20 MB of memory.
QUEUE = {"queue.buffering.max.messages": 50_000, "queue.buffering.max.kbytes": 32_768}
# librdkafka then chooses the partition by the key.
ANY_PARTITION = -1


class EventProducer:
    """Sends events and counts how many the brokers have acknowledged.

    librdkafka reports only refused records, which saves a third of the work of reporting each; a
    record that is neither queued nor refused is acknowledged. `on_full` is called after each wait
    for a full queue.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: Producer | None = None,
        on_full: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.events_mapping:
            raise NextclickError(
                f"{settings.events_topic} is a topic of one's own (events_mapping is set)",
                "A replay sends the project's own events, which do not belong there; nothing was sent.",
                "Replay into another topic: set NEXTCLICK_EVENTS_MAPPING to nothing, and --topic.",
            )
        self._topic = settings.events_topic
        self._on_full = on_full
        # `client or` would not do: a producer with an empty queue is false.
        self._producer = (
            client
            if client is not None
            else Producer(
                {
                    **settings.producer_config(),
                    "linger.ms": 5,
                    **QUEUE,
                    "delivery.report.only.error": True,
                    # No timeout: after one, the next record of the session could overtake.
                    "message.timeout.ms": 0,
                }
            )
        )
        if client is None:
            metadata(self._producer, settings, settings.events_topic)
        self._now_s = now_s
        self._progress_s, self._acknowledged_before = now_s(), 0
        self.sent = 0
        self._refused = 0
        self._error: KafkaError | None = None

    @property
    def acknowledged(self) -> int:
        """How many of the events sent the brokers have acknowledged."""
        return self.sent - len(self._producer) - self._refused

    @property
    def waiting(self) -> int:
        """How many events wait for an answer of the brokers."""
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
                    # Positional, since keywords make the call half as long again. The library uses
                    # `on_delivery`, which follows its twin `callback`, only if that one is not given.
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
        """Read delivery reports; wait at most `wait_s` for the first one.

        Raises NextclickError after a refused delivery, and after STANDSTILL_S without an answer.
        """
        self._producer.poll(wait_s)
        self._raise_error()
        acknowledged = self.acknowledged
        if acknowledged != self._acknowledged_before or acknowledged == self.sent:
            self._acknowledged_before, self._progress_s = acknowledged, self._now_s()
        elif self._now_s() - self._progress_s > STANDSTILL_S:
            raise NextclickError(
                f"{self.waiting} events wait, and none was acknowledged for {STANDSTILL_S:.0f} s",
                f"{acknowledged} of {self.sent} are sure.",
                "Look at the brokers, then replay again.",
            )

    def flush(self) -> None:
        """Wait until every event sent is acknowledged. Raises NextclickError when one is not."""
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
            # Drop what is still queued, so that the count below is final.
            self._producer.purge()
            self._producer.flush(ANSWER_TIMEOUT_S)
            raise NextclickError(
                f"an event was not delivered to {self._topic}: {self._error.str()}",
                f"{self.acknowledged} of {self.sent} are sure.",
                remedy_for(self._error, "Look at the brokers and at the topic, then replay again."),
            )


class LagLimit:
    """Makes a replay wait while a consumer group has more than `limit` records before it."""

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
        self._consumer = client or outside_consumer(settings, settings.group_id, {})

    def lag(self) -> int:
        """Records that the group has not committed yet. Raises NextclickError when Kafka does not answer."""
        return retry_while_away(
            self._read_lag,
            f"asking for the lag of group {self._settings.group_id}",
            meaning="The replay cannot tell whether it may go on.",
            remedy="Look at the brokers, or replay without --lag-limit.",
        )

    def _read_lag(self) -> int:
        topic = self._settings.events_topic
        partitions = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
        lag = 0
        for partition in self._consumer.committed(partitions, timeout=ANSWER_TIMEOUT_S):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition.partition), timeout=ANSWER_TIMEOUT_S
            )
            # Without a commit the offset is negative, and the group has yet to read all records.
            lag += high - max(partition.offset, low)
        return lag

    def wait_for_group(self, producer: EventProducer, sent: int = 1) -> None:
        """Wait until the lag is within the limit; asks Kafka once every `check_every` events sent."""
        before, self._sent = self._sent, self._sent + sent
        if before // self._check_every == self._sent // self._check_every:
            return
        while self.lag() > self._limit:
            producer.poll(LAG_POLL_S)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
