"""A topic that is a table in memory: read from its beginning before the worker serves, then followed.

Every worker reads every partition, without a group's offsets: the table is in memory, so a restart reads
all of it again. Knows no record of it.
Tested by tests/integration/test_items.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.connection import remedy_for
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader, Ranges
from stream.kafka.retries import log_transient
from stream.kafka.topic_id import UNKNOWN, is_other_topic, present_id, topic_id
from stream.kafka.topics import partition_counts
from stream.settings import Settings

POLL_S = 0.1  # records that come within it are applied together
BATCH_RECORDS = 10_000
PASS_TIME_EVERY_S = 0.5
CHECK_EVERY_S = 10.0
CHECK_TIMEOUT_S = 5.0


class Progress(Protocol):
    """How far the topic is read: records not read yet, and the wall time of the brokers' last answer."""

    lag: int | None
    checked_s: float


@dataclass(frozen=True)
class Meanings:
    """What it means that the topic cannot be read at the start, not be followed, or was made anew."""

    unread: str
    unfollowed: str
    made_anew: str


class TableTopic:
    """Hands the records of a topic to `apply` with the position after them. `load` first, then `start`.

    `purpose` names the thread and the rights on a group; `pass_time` is called twice a second.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        purpose: str,
        meanings: Meanings,
        *,
        apply: Callable[[Sequence[Message], str], None],
        progress: Progress,
        pass_time: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._topic, self._purpose = settings, topic, purpose
        self._meanings, self._progress = meanings, progress
        self._apply_records, self._pass_time = apply, pass_time
        self._positions: dict[int, int] = {}
        self._topic_id = UNKNOWN
        self._consumer: Consumer | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> bool:
        """Read the topic as it is now. Returns whether there is one; raises NextclickError if unreadable."""
        topic = self._topic
        self._admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
        partitions = partition_counts(self._admin, self._settings).get(topic)
        if not partitions:
            return False
        self._topic_id = topic_id(self._settings, topic)
        self._consumer = groupless_consumer(
            self._settings,
            self._purpose,
            {
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 32_768,
            },
        )
        places = [TopicPartition(topic, number) for number in range(partitions)]
        bounds = {place.partition: offset_bounds(self._consumer, place) for place in places}
        self._positions = {number: first for number, (first, _) in bounds.items()}
        for messages in PartitionReader(self._consumer, topic, self._unread).read(bounds):
            self._apply(messages)
        # Compaction may have left no record at the end.
        self._positions = {number: end for number, (_, end) in bounds.items()}
        self._apply_records((), self._position())
        self._progress.lag, self._progress.checked_s = 0, time.time()
        return True

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Follow the topic from where `load` ended; does nothing where there is none."""
        if self._consumer is None:
            return
        self._thread = threading.Thread(
            target=self._run, args=(self._consumer, on_failure), name=self._purpose, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._consumer is not None:
            self._consumer.close()

    def _run(self, consumer: Consumer, on_failure: Callable[[BaseException], None]) -> None:
        try:
            consumer.assign([TopicPartition(self._topic, n, offset) for n, offset in self._positions.items()])
            passed_s = checked_s = time.monotonic()
            while not self._stopping.is_set():
                messages = consumer.consume(BATCH_RECORDS, timeout=POLL_S)
                self._apply([message for message in messages if self._is_record(message)])
                now_s = time.monotonic()
                if now_s - passed_s >= PASS_TIME_EVERY_S:
                    self._pass_time()
                    passed_s = now_s
                if now_s - checked_s >= CHECK_EVERY_S:
                    self._check(consumer)
                    checked_s = time.monotonic()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            on_failure(error)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        doing = f"reading {self._topic}"
        if error.code() != error._PARTITION_EOF and not log_transient(error, doing):  # noqa: SLF001
            raise NextclickError(
                f"reading {self._topic} failed: {error.str()}",
                self._meanings.unfollowed,
                remedy_for(error, "Look at the brokers, then start the worker again."),
            )
        return False

    def _apply(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        for message in messages:
            self._positions[message.partition() or 0] = (message.offset() or 0) + 1
        self._apply_records(messages, self._position())

    def _position(self) -> str:
        """The last offset that is applied of each partition, as a list's header has it."""
        return ",".join(f"{number}-{offset - 1}" for number, offset in sorted(self._positions.items()))

    def _check(self, consumer: Consumer) -> None:
        """Ask how much there is to read, and whether this is still the topic; silence is no error."""
        topic, progress = self._topic, self._progress
        try:
            known = self._topic_id
            if known != UNKNOWN and is_other_topic(known, present_id(self._admin, topic, CHECK_TIMEOUT_S)):
                raise NextclickError(
                    f"the topic {topic} was made anew under the worker",
                    self._meanings.made_anew,
                    "Start the worker again: it reads the new topic from its beginning.",
                )
            ends = {
                number: consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=CHECK_TIMEOUT_S, cached=False
                )[1]
                for number in self._positions
            }
        except KafkaException:
            # The time of the last answer stands still, which an alert watches.
            return
        progress.lag = sum(max(0, end - self._positions[number]) for number, end in ends.items())
        progress.checked_s = time.time()

    def _unread(self, why: str, left: Ranges) -> NextclickError:
        return NextclickError(
            f"{self._topic} could not be read: {why}",
            self._meanings.unread,
            "Look at the brokers and at this client's rights, then start the worker again.",
        )
