"""Steps 8 and 9 of a wave: publish its lists and dead letters, then write its states and offsets.

One thread, waves in order. Lists of later waves are produced while earlier waves wait for
acknowledgements. A wave is written once every list and letter of it is acknowledged, and
committed (see commits) once it is written. Any failure ends the process (see stream.app.crash).
Tested by tests/integration/test_worker.py, tests/faults/test_kills.py and, without a broker, by
tests/unit/stream/worker/test_sink.py.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from model.errors import NextclickError
from stream.events import encode_recommendation
from stream.failpoints import reach
from stream.kafka.connection import remedy_for
from stream.kafka.topic_check import MIN_MESSAGE_BYTES
from stream.sessions.offsets import AppliedOffsets
from stream.settings import Settings
from stream.wave.load_shedding import LEVELS
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.withdrawn_versions import WithdrawnVersions
from stream.worker.dead_letters import Headers, dead_letter

POLL_S = 0.001
# How long a worker that is to stop waits for acknowledgements; supervisors wait 60 s.
STOP_S = 45.0


def lists_config(settings: Settings) -> dict[str, Any]:
    """The librdkafka properties of the lists' producer.

    What comes while a request is under way goes with the next one to its partition: that is all the
    batching there is to be. With several requests to a broker librdkafka 2.16 polls without pause while it is
    slow to answer, on a core that the broker may be waiting for; with one it does not.

    A list waits for a broker for as long as there is none: an end in the middle of an outage would help
    nobody, and the next start could not join the group.
    """
    in_flight = {"linger.ms": 0, "max.in.flight": settings.requests_in_flight, "message.timeout.ms": 0}
    return {**settings.producer_config(), **in_flight, "batch.num.messages": 10_000}


@dataclass(slots=True)
class _Unacknowledged:
    """A wave whose lists are produced, with the number of acknowledgements it still waits for."""

    stepped: SteppedWave
    waiting: int


class DeliveryError(NextclickError):
    """Kafka refused a list or a dead letter for good."""

    def __init__(self, topic: str, error: KafkaError) -> None:
        super().__init__(
            f"a record for topic {topic} was not delivered: {error.str()}",
            "Its wave was neither written nor committed; a restart steps and publishes it again.",
            remedy_for(error, "Look at the brokers, then start the worker again."),
        )


class _MadeBy(msgspec.Struct):
    """The field of a list that names the version that made it."""

    model_version: str


class UnpublishableList(NextclickError):
    """Kafka refused a list as too large; `version` made it."""

    def __init__(self, version: str, size: int, settings: Settings) -> None:
        super().__init__(
            f"a list of version {version} is larger than the brokers take: {size:,} bytes",
            f"Its wave was neither written nor committed. Version {version} is out of service on this "
            "worker; a restart steps the wave again with the champion before.",
            f"Promote a version with shorter item ids, or raise max.message.bytes of "
            f"{settings.recommendations_topic} and remove {WithdrawnVersions(settings.state_dir).path}.",
        )
        self.version = version


def _headers(shown: RecommendedList, stepped: SteppedWave) -> Headers:
    """What a list says of itself beside its value."""
    headers: Headers = [
        ("model", shown.model_version.encode()),
        ("position", b"%d" % shown.position),
        ("wave", b"%d" % stepped.size),
        ("queued_us", b"%d" % ((stepped.started_ns - shown.arrival.received_ns) // 1000)),
        ("stepped_us", b"%d" % stepped.stepped_us),
    ]
    if stepped.item_words:
        headers.append(("items", stepped.item_words.encode()))
    if stepped.level:
        headers.append(("level", LEVELS[stepped.level].encode()))
    if shown.fallback:
        headers.append(("fallback", shown.fallback.encode()))
    headers += shown.headers
    return headers


def _value(shown: RecommendedList, placement: str = "") -> bytes:
    """The list as JSON, with the name of its placement where it has one."""
    return encode_recommendation(
        shown.session_id,
        f"{shown.arrival.partition}-{shown.arrival.offset}",
        shown.event_time_ms,
        shown.model_version,
        shown.items,
        shown.scores,
        placement,
    )


class Sink:
    """The publishing thread. `on_durable` is called in it, in order, for each durable wave."""

    def __init__(
        self,
        settings: Settings,
        *,
        commit: Callable[[dict[int, AppliedOffsets]], None],
        on_durable: Callable[[SteppedWave], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._producer = Producer(lists_config(settings))
        self._commit = commit
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._stepped: queue.Queue[SteppedWave | None] = queue.Queue(settings.waves_in_flight)
        self._unacknowledged: deque[_Unacknowledged] = deque()
        self._error: NextclickError | None = None
        self._end_by_s = math.inf
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, stepped: SteppedWave) -> None:
        """Queue a wave; blocks while `waves_in_flight` waves are queued."""
        self._stepped.put(stepped)

    def will_stop(self) -> None:
        """Wait STOP_S for acknowledgements from now on; without them the process ends by an error."""
        self._end_by_s = time.monotonic() + STOP_S

    def stop(self) -> None:
        """Finish what was submitted, commit, and end the thread."""
        self._stepped.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            while self._unacknowledged:
                self._write_acknowledged(POLL_S)
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            self._on_failure(error)

    def _turn(self) -> bool:
        """Publish a wave if one is queued, and write those that are acknowledged."""
        full = len(self._unacknowledged) >= self._settings.waves_in_flight
        if not full:
            try:
                wait_s = POLL_S if self._unacknowledged else 0.05
                stepped = self._stepped.get(timeout=wait_s)
                if stepped is None:
                    return False
                self._publish(stepped)
            except queue.Empty:
                pass
        self._write_acknowledged(POLL_S if full else 0)
        return True

    def _publish(self, stepped: SteppedWave) -> None:
        """8. publish: produce a wave's lists, those of placements, purchases and dead letters."""
        waiting = len(stepped.lists) + len(stepped.placed) + len(stepped.purchases) + len(stepped.dead)
        wave = _Unacknowledged(stepped, waiting)

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._error = self._error or self._refused(message.topic() or "?", message.value(), error)
            wave.waiting -= 1

        topic = self._settings.recommendations_topic
        for shown in stepped.lists:
            headers = _headers(shown, stepped)
            self._produce(topic, shown.session_id.encode(), _value(shown), headers, acknowledged)
        for placed in stepped.placed:
            shown = placed.shown
            headers = [("placement", placed.placement.encode()), ("rules", placed.rules.encode())]
            headers += _headers(shown, stepped)
            value = _value(shown, placed.placement)
            topic = self._settings.placements_topic
            self._produce(topic, shown.session_id.encode(), value, headers, acknowledged)
        for user_and_item, bought in stepped.purchases:
            self._produce(self._settings.purchases_topic, user_and_item, bought, [], acknowledged)
        for arrival in stepped.dead:
            letter = dead_letter(arrival, self._settings.events_topic)
            self._produce(self._settings.dlq_topic, *letter, acknowledged)
        self._unacknowledged.append(wave)
        reach("8-produced")

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        acknowledged: Callable[[KafkaError | None, Message], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=acknowledged)
                return
            except BufferError:
                self._producer.poll(0.05)
                self._raise_delivery_error()
            except KafkaException as error:
                raise self._refused(topic, value, error.args[0]) from None

    def _refused(self, topic: str, value: str | bytes | None, error: KafkaError) -> NextclickError:
        """The error of a record that Kafka refuses for good; too large a list withdraws its version."""
        # The limit is of a batch: a list that every topic takes was only in too large a batch.
        too_large = error.code() == KafkaError.MSG_SIZE_TOO_LARGE and len(value or b"") > MIN_MESSAGE_BYTES
        if not too_large or topic != self._settings.recommendations_topic or not value:
            return DeliveryError(topic, error)
        refused = UnpublishableList(
            msgspec.json.decode(value, type=_MadeBy).model_version, len(value), self._settings
        )
        WithdrawnVersions(self._settings.state_dir).add(refused.version, refused.what)
        return refused

    def _raise_delivery_error(self) -> None:
        if self._error is not None:
            raise self._error
        if time.monotonic() > self._end_by_s and self._unacknowledged:
            raise NextclickError(
                f"no broker has acknowledged {len(self._unacknowledged)} waves of lists for {STOP_S:.0f} s, "
                "and the worker is to stop",
                "They were neither written nor committed: nothing is lost.",
                "Start it again once the brokers answer: the waves are stepped and published again.",
            )

    def _write_acknowledged(self, wait_s: float) -> None:
        """8. wait for acknowledgements; 9. write the waves, in order, that are acknowledged in full.

        One batch for each partition holds its states, expiry index and offsets; the offsets are then
        handed back to the source, which commits them.
        """
        self._producer.poll(wait_s)
        self._raise_delivery_error()
        while self._unacknowledged and not self._unacknowledged[0].waiting:
            reach("8-acknowledged")
            stepped = self._unacknowledged.popleft().stepped
            # 9. write
            for partition, batch, applied in stepped.writes.values():
                partition.write(batch, applied)
                reach("9-written")
            # then commit
            self._commit({number: applied for number, (_, _, applied) in stepped.writes.items()})
            self._on_durable(stepped)
