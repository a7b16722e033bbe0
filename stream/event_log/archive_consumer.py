"""The consumer of an archiver: its settings, a refused commit, a topic that was made anew under it.

Tested by tests/faults/test_archive.py.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from model.errors import NextclickError
from stream.kafka.consumers import log_refused_commit, sharing_config
from stream.settings import Settings


def on_commit(error: KafkaError | None, partitions: list[TopicPartition]) -> None:
    """Log a commit that the group refused."""
    if error is not None:
        log_refused_commit(error, "only the lag is shown wrong, the archive is not affected")


def consumer_config(settings: Settings) -> dict[str, Any]:
    """The settings of a member of the group that shares `events` among archivers."""
    return {
        **sharing_config(settings, "archive", "cooperative-sticky"),
        "on_commit": on_commit,
        "heartbeat.interval.ms": min(3_000, settings.session_timeout_ms // 3),
        "queued.max.messages.kbytes": 32_768,
        "queued.min.messages": 20_000,
    }


def topic_made_anew(topic: str, why: str) -> NextclickError:
    """The error of a topic that is another one than at the archiver's start."""
    return NextclickError(
        f"the topic {topic} was made anew while it was archived: {why}",
        "Records of both would stand in one archive; what was not archived yet is discarded.",
        "Archive the new topic into a folder of its own: --folder.",
    )
