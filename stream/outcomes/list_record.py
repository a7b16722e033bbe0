"""A record of `recommendations` as the join takes it.

Tested by tests/unit/stream/outcomes/test_recorder_offsets.py.
"""

from __future__ import annotations

from confluent_kafka import Message

from stream.events import decode_recommendation
from stream.kafka.lists_reader import received_of
from stream.outcomes.outcome import UNREADABLE_ERRORS
from stream.outcomes.outcome_join import ShownList


def list_of(message: Message, *, again: bool) -> ShownList:
    """The list of a record; a record that is none is counted by the join."""
    offset = message.offset() or 0
    try:
        shown = decode_recommendation(message.value() or b"")
        event_offset = int(shown.event_id.partition("-")[2])
        headers = received_of(message, shown).headers
    except UNREADABLE_ERRORS:
        return ShownList(offset, -1, None, {}, again)
    return ShownList(offset, event_offset, shown, headers, again)
