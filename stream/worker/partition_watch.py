"""Ends a running worker when partitions are added to its topics, as its start would, or one is made anew.

With more partitions producers place sessions by another count: the worker would read the new partitions
late or never, and halves of sessions in them. In a topic that was made anew its offsets mean other
records: the restart finds the other id, and begins anew. Asks for metadata in a thread of its own,
since a broker that is away lets its client wait; so it knows since when no broker answers.

Tested by tests/unit/stream/worker/test_partition_watch.py, tests/cases/test_producers_duty.py and
tests/cases/test_recreated_topic.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.topic_id import UNKNOWN, other_id
from stream.kafka.topics import wrong_partitions
from stream.settings import Settings

ASK_EVERY_S = 5.0
ANSWER_TIMEOUT_S = 5.0
# One question may be lost while a broker is restarted.
AWAY_AFTER = 2


class PartitionWatch:
    """Holds the partitions against the settings, and the id of `events`, every ASK_EVERY_S."""

    def __init__(self, settings: Settings, on_failure: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._topic_id = UNKNOWN
        self._unanswered = 0
        self._silent_since_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partition-watch", daemon=True)

    @property
    def brokers_away_s(self) -> float:
        """For how long no broker has answered; 0 until AWAY_AFTER questions in a row were left unanswered."""
        silent_since_s = self._silent_since_s
        return time.monotonic() - silent_since_s if self._unanswered >= AWAY_AFTER else 0.0

    def start(self, topic_id: str) -> None:
        """Start the thread; `topic_id` is the id of the topic whose offsets the worker keeps."""
        self._topic_id = topic_id
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            # Its own log would repeat every failed connection.
            admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
            while not self._stopping.wait(ASK_EVERY_S):
                problem = wrong_partitions(self._counts(admin), self._settings)
                if problem is not None:
                    raise problem
                if not self._unanswered:
                    self._check_id(admin)
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _check_id(self, admin: AdminClient) -> None:
        topic = self._settings.events_topic
        now = other_id(admin, topic, self._topic_id, ANSWER_TIMEOUT_S)
        if now is not None:
            raise NextclickError(
                f"the topic {topic} was made anew under the worker: its id was {self._topic_id}, is {now}",
                "What the worker keeps is of the topic before it, whose offsets mean nothing in this one.",
                "Start the worker again: it reads the new topic from its beginning.",
            )

    def _counts(self, admin: AdminClient) -> dict[str, int]:
        """Partitions of the topics that the brokers answer for now."""
        counts: dict[str, int] = {}
        for name in (self._settings.events_topic, self._settings.recommendations_topic):
            asked_s = time.monotonic()
            try:
                topic = admin.list_topics(name, timeout=ANSWER_TIMEOUT_S).topics.get(name)
            except KafkaException:
                if not self._unanswered:
                    self._silent_since_s = asked_s
                self._unanswered += 1
                # The other topic is asked for in the next turn: no broker would name it now.
                return counts
            self._unanswered = 0
            if topic is not None and topic.error is None and topic.partitions:
                counts[name] = len(topic.partitions)
        return counts
