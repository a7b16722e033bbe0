"""Announcements on `models`: the version to serve, the version to step as its shadow, the experiment.

Each has its key, so that the compacted topic keeps the newest; an empty value ends a shadow or an
experiment. The value of an experiment is made and read in stream.experiments.
An announcement names a version and carries no weights: a worker loads the version from the
registry, verifies it, and refuses one that it cannot serve. Announcing the serving version again
changes nothing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import partition_counts
from stream.settings import Settings

KEY, SHADOW_KEY, EXPERIMENT_KEY = b"champion", b"shadow", b"experiment"
DEADLINE_S = 30.0


class Announcement(msgspec.Struct):
    """The value under "champion": the version to serve."""

    version: str


class ShadowAnnouncement(msgspec.Struct):
    """The value under "shadow": the version to step as a shadow, and for which share of sessions."""

    version: str
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]


def encode_announcement(version: str) -> bytes:
    """The value that announces `version`.

    >>> encode_announcement("v1")
    b'{"version":"v1"}'
    """
    return msgspec.json.encode(Announcement(version))


def decode_announcement(value: bytes | None) -> Announcement:
    """The announcement in a record's value. Raises msgspec.DecodeError when it is none."""
    return msgspec.json.decode(value or b"", type=Announcement)


def decode_shadow(value: bytes | None) -> ShadowAnnouncement | None:
    """The announcement in a value under "shadow", None when it ends the shadow."""
    return msgspec.json.decode(value, type=ShadowAnnouncement) if value else None


def kept_values(settings: Settings) -> tuple[dict[bytes, bytes], list[int]]:
    """The newest value by key, and the offset after the last record of each partition.

    The topic keeps older values until it is compacted; only the newest counts, and none that ends what was
    announced. Raises NextclickError.
    """
    newest: dict[bytes, bytes] = {}
    with TopicReader(settings, settings.models_topic) as reader:
        bounds = reader.bounds()
        for number, (first, end) in enumerate(bounds):
            for records in reader.read(number, first, end):
                for record in records:
                    key, value = _bytes(record.key()), _bytes(record.value())
                    newest.pop(key, None)
                    if value:
                        newest[key] = value
    return newest, [end for _, end in bounds]


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def announce(settings: Settings, version: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Announce `version` on `models`, and return when the brokers have acknowledged it.

    Raises NextclickError when it is not acknowledged within `deadline_s`.
    """
    reason = _produce(settings, KEY, encode_announcement(version), deadline_s)
    if reason:
        raise NextclickError(
            f"version {version} could not be announced on {settings.models_topic}: {reason}",
            "CHAMPION is where it was put, but workers that run go on with the version they have.",
            "Look at the brokers, then announce it again: promoting the same version does no harm.",
        )


def check_models_topic(settings: Settings) -> None:
    """Raises NextclickError when no broker answers or there is no topic to announce on."""
    topics = partition_counts(AdminClient({**settings.kafka_config(), "log_level": 0}), settings)
    if not topics.get(settings.models_topic):
        raise NextclickError(
            f"there is no topic {settings.models_topic} at {settings.bootstrap_servers}",
            "No worker would hear of it. Nothing was changed.",
            "Make the topics with `nextclick topics`, or name the right brokers.",
        )


def announce_champion(settings: Settings, version: str, before: str | None) -> None:
    """Announce a champion that replaced `before`; an error says that CHAMPION has moved already."""
    try:
        announce(settings, version)
    except NextclickError as error:
        raise NextclickError(
            error.what,
            f"CHAMPION is {version} now (before: {before}), so a worker that starts serves it; "
            "those that run go on with what they have.",
            f"Look at the brokers, then `nextclick promote {version}`: it tells the workers again.",
        ) from error


def announce_shadow(
    settings: Settings, shadow: ShadowAnnouncement | None, *, deadline_s: float = DEADLINE_S
) -> None:
    """Announce the version to step as a shadow, None to end the shadow.

    Raises NextclickError when it is not acknowledged within `deadline_s`.
    """
    value = msgspec.json.encode(shadow) if shadow else None
    reason = _produce(settings, SHADOW_KEY, value, deadline_s)
    if reason:
        raise NextclickError(
            f"the shadow could not be announced on {settings.models_topic}: {reason}",
            "Workers go on as they are.",
            "Look at the brokers, then try again.",
        )


def announce_experiment(settings: Settings, value: bytes | None, *, deadline_s: float = DEADLINE_S) -> None:
    """Announce an experiment by its value, None to end it.

    Raises NextclickError when it is not acknowledged within `deadline_s`.
    """
    reason = _produce(settings, EXPERIMENT_KEY, value, deadline_s)
    if reason:
        raise NextclickError(
            f"the experiment could not be announced on {settings.models_topic}: {reason}",
            "Workers go on as they are.",
            "Look at the brokers, then try again.",
        )


def _produce(settings: Settings, key: bytes, value: bytes | None, deadline_s: float) -> str:
    """Produce one record. Returns "" when it is acknowledged, else the reason."""
    refused: list[KafkaError] = []
    acknowledged = False

    def delivered(error: KafkaError | None, message: Message) -> None:
        nonlocal acknowledged
        acknowledged = error is None
        if error is not None:
            refused.append(error)

    # librdkafka gives up at the deadline too: a failed announcement must not arrive later.
    timeout_ms = int(deadline_s * 1000)
    producer = Producer({**settings.producer_config(), "message.timeout.ms": timeout_ms, "log_level": 0})
    try:
        producer.produce(settings.models_topic, value, key, on_delivery=delivered)
    except KafkaException as error:
        refused.append(error.args[0])
    producer.flush(deadline_s + 1)
    if acknowledged:
        return ""
    return refused[0].str() if refused else f"no answer in {deadline_s:.0f} s"
