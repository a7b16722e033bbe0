"""From where a recorder reads again: what it commits beside the offsets of both topics.

Tested by tests/unit/stream/outcomes/test_recorder_offsets.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stream.kafka.consumers import sharing_config
from stream.kafka.topic_id import UNKNOWN, is_other_topic
from stream.sessions.watermark import NO_WATERMARK, Watermark
from stream.settings import Settings


class Resumed(msgspec.Struct, array_like=True, frozen=True):
    """Beside a committed offset: the first record that is read again, and the id of the topic.

    Of events `watermark` is the watermark before that record. Lists below the committed offset have their
    outcomes; those from `first` on say which of the events that are read again have one.

    >>> Resumed.read(Resumed(3, "an-id").text(), "an-id").first
    3
    >>> Resumed.read("another program's", "an-id") is None
    True
    """

    first: int
    topic_id: str = UNKNOWN
    watermark: Watermark = NO_WATERMARK

    def text(self) -> str:
        """As commit metadata."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str | None, topic_id: str) -> Resumed | None:
        """What commit metadata says, None where it is another program's or of another topic of the name."""
        try:
            found = msgspec.json.decode(text or "", type=cls)
        except msgspec.DecodeError:
            return None
        return None if is_other_topic(found.topic_id, topic_id) else found


def consumer_config(settings: Settings) -> dict[str, Any]:
    """The settings of a member of the group that shares lists and events among recorders."""
    return {
        # Gives the same partitions of both topics to one process.
        **sharing_config(settings, "outcomes", "range"),
        "isolation.level": "read_committed",
        # Lists wait in the log: few of them are fetched ahead.
        "queued.min.messages": 2_000,
        "queued.max.messages.kbytes": 16_384,
    }
