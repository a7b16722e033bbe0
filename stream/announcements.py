"""Announcements on `models`: which version is to serve.

One key, so that the compacted topic keeps the newest. An announcement names a version and
carries no weights: whoever hears it loads the version from the registry, verifies it, and
refuses what it cannot serve. Announcing again what serves already changes nothing.
"""

from __future__ import annotations

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from model.errors import NextclickError
from stream.settings import Settings

KEY = b"champion"
DEADLINE_S = 30.0


class Announcement(msgspec.Struct):
    """The value on `models`: the version that is to serve."""

    version: str


def encode_announcement(version: str) -> bytes:
    """The value that announces `version`."""
    return msgspec.json.encode(Announcement(version))


def decode_announcement(value: bytes | None) -> Announcement:
    """The announcement in a record's value. Raises msgspec.DecodeError when it cannot be read."""
    return msgspec.json.decode(value or b"", type=Announcement)


def announce(settings: Settings, version: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Announce `version` on `models`, and return when the brokers have acknowledged it.

    Raises NextclickError when that has not happened within `deadline_s`.
    """
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
        producer.produce(settings.models_topic, encode_announcement(version), KEY, on_delivery=delivered)
    except KafkaException as error:
        refused.append(error.args[0])
    producer.flush(deadline_s + 1)
    if not sure:
        reason = refused[0].str() if refused else f"no answer in {deadline_s:.0f} s"
        raise NextclickError(
            f"version {version} could not be announced on {settings.models_topic}: {reason}",
            "CHAMPION is where it was put, but workers that run go on with the version they have.",
            "Look at the brokers, then announce it again: promoting the same version does no harm.",
        )
