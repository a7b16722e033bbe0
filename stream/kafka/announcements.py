"""Announcements on `models`: which version is to serve, and which is to step in its shadow.

A key for each, so that the compacted topic keeps the newest; no value ends the shadow.
An announcement names a version and carries no weights: whoever hears it loads the version from the
registry, verifies it, and refuses what it cannot serve. Announcing again what serves already changes nothing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.kafka.topics import partition_counts
from stream.settings import Settings

KEY, SHADOW_KEY = b"champion", b"shadow"
DEADLINE_S = 30.0


class Announcement(msgspec.Struct):
    """The value on `models`: the version that is to serve."""

    version: str


class ShadowAnnouncement(msgspec.Struct):
    """The value under "shadow": the version that is to step unseen, and for which share of sessions."""

    version: str
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]


def encode_announcement(version: str) -> bytes:
    """The value that announces `version`."""
    return msgspec.json.encode(Announcement(version))


def decode_announcement(value: bytes | None) -> Announcement:
    """The announcement in a record's value. Raises msgspec.DecodeError when it cannot be read."""
    return msgspec.json.decode(value or b"", type=Announcement)


def decode_shadow(value: bytes | None) -> ShadowAnnouncement | None:
    """The same of a record under "shadow"; None: nothing is to step unseen."""
    return msgspec.json.decode(value, type=ShadowAnnouncement) if value else None


def announce(settings: Settings, version: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Announce `version` on `models`, and return when the brokers have acknowledged it.

    Raises NextclickError when that has not happened within `deadline_s`.
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
    """Announce what is to step in the shadow, None for nothing.

    Raises NextclickError when that has not been acknowledged within `deadline_s`.
    """
    value = msgspec.json.encode(shadow) if shadow else None
    reason = _produce(settings, SHADOW_KEY, value, deadline_s)
    if reason:
        raise NextclickError(
            f"the shadow could not be announced on {settings.models_topic}: {reason}",
            "Workers go on as they are.",
            "Look at the brokers, then try again.",
        )


def _produce(settings: Settings, key: bytes, value: bytes | None, deadline_s: float) -> str:
    """Produce one record; → "" when it is acknowledged, else why it is not."""
    refused: list[KafkaError] = []
    sure = False

    def delivered(error: KafkaError | None, message: Message) -> None:
        nonlocal sure
        sure = error is None
        if error is not None:
            refused.append(error)

    # After the deadline nothing is under way any more: an announcement given up must not come later.
    timeout_ms = int(deadline_s * 1000)
    producer = Producer({**settings.producer_config(), "message.timeout.ms": timeout_ms, "log_level": 0})
    try:
        producer.produce(settings.models_topic, value, key, on_delivery=delivered)
    except KafkaException as error:
        refused.append(error.args[0])
    producer.flush(deadline_s + 1)
    if sure:
        return ""
    return refused[0].str() if refused else f"no answer in {deadline_s:.0f} s"
