"""Until when topics keep what has been written to them, by their configuration as the brokers have it.

Tested by tests/unit/stream/event_log/test_retention.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ResourceType,
)

from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S

# Brokers look for what is to be removed every five minutes, and delete its files a minute later.
REMOVAL_MS = 3_600_000


@dataclass(frozen=True)
class Retention:
    """What removes a topic's records: their age, a newer record of their key, or nothing.

    `unknown` says why the brokers did not tell; it is "" where they did. A record goes with its segment,
    whose newest record counts: that may be younger by `segment_ms`.

    >>> Retention("delete", retention_ms=86_400_000, segment_ms=3_600_000).until(0)
    '1970-01-02T02:00Z'
    >>> Retention("delete", retention_ms=-1, segment_ms=3_600_000).text(0)
    'forever, since its retention.ms is -1'
    """

    policy: str = "delete"
    retention_ms: int = -1
    segment_ms: int = 0
    unknown: str = ""

    def until_ms(self, newest_ms: int) -> int | None:
        """When a record of `newest_ms` is gone at the latest; None where that is never, or is not known."""
        if self.unknown or self.retention_ms < 0 or "delete" not in self.policy.split(","):
            return None
        return newest_ms + self.retention_ms + self.segment_ms + REMOVAL_MS

    def until(self, newest_ms: int) -> str | None:
        """The minute of `until_ms`, in UTC, as ISO 8601; also None beyond the year 9999."""
        until_ms = self.until_ms(newest_ms)
        if until_ms is None:
            return None
        try:
            return f"{datetime.fromtimestamp(until_ms / 1000, UTC):%Y-%m-%dT%H:%MZ}"
        except (OverflowError, ValueError, OSError):
            return None

    def text(self, newest_ms: int) -> str:
        """Until when, in words."""
        if self.unknown:
            return f"until its retention removes them; when that is, is not known: {self.unknown}"
        if "delete" not in self.policy.split(","):
            return f"forever, since its cleanup.policy is {self.policy}"
        if self.retention_ms < 0:
            return "forever, since its retention.ms is -1"
        until = self.until(newest_ms)
        return "forever, by its retention.ms" if until is None else f"until {until} at the latest"


def retentions(admin: AdminClient, topics: list[str]) -> dict[str, Retention]:
    """By topic what removes its records; topics that are not there are left out."""
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, Retention] = {}
    for resource, answer in admin.describe_configs(asked, request_timeout=ANSWER_TIMEOUT_S).items():
        try:
            entries = answer.result(timeout=RESULT_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                found[resource.name] = Retention(unknown=error.args[0].str())
            continue
        found[resource.name] = retention_of({name: str(entry.value) for name, entry in entries.items()})
    return found


def retention_of(config: Mapping[str, str]) -> Retention:
    """What a topic's configuration says.

    >>> retention_of({"cleanup.policy": "delete", "retention.ms": "5", "segment.ms": "2"}).retention_ms
    5
    """
    try:
        policy = config["cleanup.policy"].replace(" ", "")
        return Retention(policy, int(config["retention.ms"]), int(config["segment.ms"]))
    except (KeyError, ValueError):
        return Retention(unknown="the brokers did not tell retention.ms, segment.ms or cleanup.policy")
