"""Whether the brokers answer, probed every two seconds while the state is asked for.

Runs in its own thread, since a client of an absent broker waits; the thread ends WANTED_S after the
last question. Tested by tests/browser/test_broker_away.py.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream.logs import happening
from stream.settings import Settings

PROBE_EVERY_S = 2.0
ANSWER_TIMEOUT_S = 1.5
WANTED_S = 15.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BrokerState:
    """Whether the brokers answered the last probe, since when (epoch ms), and the error if not."""

    reachable: bool
    since_ms: int
    error: str = ""


class BrokerProbe:
    """Asks for the metadata of one topic; `state` is None before the first answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._wanted_until_s = 0.0
        self._is_running = False
        self._state: BrokerState | None = None

    def state(self) -> BrokerState | None:
        """The newest state; keeps the probe running for WANTED_S."""
        with self._lock:
            self._wanted_until_s = time.monotonic() + WANTED_S
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="broker-watch", daemon=True).start()
            return self._state

    def _run(self) -> None:
        # librdkafka's own log would repeat every failed connection.
        admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
        while True:
            self._probe(admin)
            time.sleep(PROBE_EVERY_S)
            with self._lock:
                if time.monotonic() > self._wanted_until_s:
                    self._is_running = False
                    # An old state must not be shown as the current one.
                    self._state = None
                    return

    def _probe(self, admin: AdminClient) -> None:
        try:
            admin.list_topics(self._settings.events_topic, timeout=ANSWER_TIMEOUT_S)
            reachable, error = True, ""
        except KafkaException as problem:
            reachable, error = False, problem.args[0].str()
        before = self._state
        since_ms = int(time.time() * 1000)
        if before is not None and before.reachable == reachable:
            since_ms = before.since_ms
        elif before is not None:
            logger.warning(
                "Kafka %s",
                "answers again" if reachable else f"does not answer: {error}",
                extra=happening("kafka_back" if reachable else "kafka_away", error=error),
            )
        self._state = BrokerState(reachable, since_ms, error)
