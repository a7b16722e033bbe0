"""Ends a running worker when partitions are added to its topics, as its start would.

From then on producers place sessions by another count: the worker would read the new partitions late
or never, and halves of sessions in them. Asks for metadata in a thread of its own, since a broker that
is away lets its client wait.

Tested by tests/cases/test_producers_duty.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream.kafka.topics import wrong_partitions
from stream.settings import Settings

ASK_EVERY_S = 5.0
ANSWER_TIMEOUT_S = 5.0


class PartitionWatch:
    """Holds the partitions of events and recommendations against the settings, every ASK_EVERY_S."""

    def __init__(self, settings: Settings, on_failure: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partition-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
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
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _counts(self, admin: AdminClient) -> dict[str, int]:
        """Partitions of the topics that the brokers answer for now."""
        counts: dict[str, int] = {}
        for name in (self._settings.events_topic, self._settings.recommendations_topic):
            try:
                topic = admin.list_topics(name, timeout=ANSWER_TIMEOUT_S).topics.get(name)
            except KafkaException:
                continue
            if topic is not None and topic.error is None and topic.partitions:
                counts[name] = len(topic.partitions)
        return counts
