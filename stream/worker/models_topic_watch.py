"""Notices that `models` was made anew, by its id, and reads the new topic from then on.

Faust hears the topic that was there at the start; of one made anew it hears after its metadata's age, five
minutes, and then perhaps from a wrong offset. A shorter age would have its client make the topic again, where
brokers allow that, before its operator does. So the id is asked for in a thread of its own, and a topic
with another one is read here: first the newest record of each key, then what is announced.

Tested by tests/unit/stream/worker/test_models_topic_watch.py and tests/cases/test_recreated_topic.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader, Ranges
from stream.kafka.topic_id import UNKNOWN, is_other_topic, present_id
from stream.kafka.topics import partition_counts
from stream.logs import happening
from stream.settings import Settings

ASK_EVERY_S = 2.0
ANSWER_TIMEOUT_S = 5.0
POLL_S = 0.2
AT_ONCE = 100
logger = logging.getLogger(__name__)


class ModelsTopicWatch:
    """Passes the announcements of a topic made anew to `follow`, in its own thread; `begin` starts it."""

    def __init__(
        self,
        settings: Settings,
        follow: Callable[[Message], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._follow = follow
        self._on_failure = on_failure
        self._topic_id = UNKNOWN
        self._consumer: Consumer | None = None
        self._problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models-topic-watch", daemon=True)

    @property
    def reads(self) -> bool:
        """Whether the topic was made anew, so that what Faust delivers of it does not count."""
        return self._consumer is not None

    def begin(self, topic_id: str) -> None:
        """Start the thread; `topic_id` is the id of the topic that Faust hears, which may be UNKNOWN."""
        self._topic_id = topic_id
        # A broker without ids has nothing to watch.
        if topic_id != UNKNOWN:
            self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            # Its own log would repeat every failed connection.
            admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
            asked_s = float("-inf")
            while not self._stopping.is_set():
                if time.monotonic() - asked_s >= ASK_EVERY_S:
                    self._check(admin)
                    asked_s = time.monotonic()
                self._hear()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _check(self, admin: AdminClient) -> None:
        try:
            now = present_id(admin, self._settings.models_topic, ANSWER_TIMEOUT_S)
            if is_other_topic(self._topic_id, now):
                self._begin_anew(admin, now)
        except KafkaException as error:
            self._note(error.args[0].str())
        except NextclickError as error:
            self._note(error.what)
        else:
            self._note("")

    def _begin_anew(self, admin: AdminClient, topic_id: str) -> None:
        """Read the new topic as it is now, follow what counts, and go on from there.

        Raises KafkaException or NextclickError when it cannot be read yet: the next question tries again.
        """
        topic = self._settings.models_topic
        partitions = partition_counts(admin, self._settings).get(topic, 0)
        if not partitions:
            # The broker that was asked may not know of it yet.
            raise self._unread("no broker names its partitions yet", {})
        # A client of its own for each topic: one that knows the old one may answer with its offsets.
        consumer = groupless_consumer(
            self._settings,
            f"models-{self._settings.worker_id}",
            {"log_level": 0, "auto.offset.reset": "earliest", "enable.partition.eof": True},
        )
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            bounds = {place.partition: offset_bounds(consumer, place) for place in places}
            newest: dict[object, Message] = {}
            for records in PartitionReader(consumer, topic, self._unread, poll_s=POLL_S).read(bounds):
                for record in records:
                    newest.pop(record.key(), None)
                    newest[record.key()] = record
            consumer.assign([TopicPartition(topic, number, end) for number, (_, end) in bounds.items()])
        except BaseException:
            consumer.close()
            raise
        before, self._consumer = self._consumer, consumer
        if before is not None:
            before.close()
        logger.warning(
            "the topic %s was made anew: its id was %s, is %s; it is read from its beginning, and what "
            "it does not name goes on as it is",
            topic,
            self._topic_id,
            topic_id,
            extra=happening("models_topic_anew", before=self._topic_id, topic_id=topic_id),
        )
        self._topic_id = topic_id
        for record in newest.values():
            self._follow(record)

    def _hear(self) -> None:
        """Follow what is announced on a topic made anew; else wait."""
        if self._consumer is None:
            self._stopping.wait(POLL_S)
            return
        for message in self._consumer.consume(AT_ONCE, timeout=POLL_S):
            # What keeps the client from reading, the next question about the topic says.
            if message.error() is None:
                self._follow(message)

    def _note(self, problem: str) -> None:
        """Log once that the topic cannot be asked for, and once that it can again."""
        if problem and not self._problem:
            logger.warning(
                "the topic %s cannot be asked for: %s; no announcement is heard until it can",
                self._settings.models_topic,
                problem,
                extra=happening("models_topic_away", error=problem),
            )
        elif self._problem and not problem:
            logger.info(
                "the topic %s answers again",
                self._settings.models_topic,
                extra=happening("models_topic_back"),
            )
        self._problem = problem

    def _unread(self, why: str, left: Ranges) -> NextclickError:
        return NextclickError(
            f"the new topic {self._settings.models_topic} could not be read: {why}",
            "Announcements on it are not heard yet; the version in service goes on.",
            "Look at the brokers; the worker tries again by itself.",
        )
