"""One session's history, read from `events`, when neither a worker nor a store has it.

Tested by tests/integration/test_session_view.py.
"""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicPartition

from model.data.session_rule import SessionRule
from stream.event_decoder import OWN_EVENTS, EventDecoder, event_of
from stream.events import RejectedEvent
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.consumers import outside_consumer
from stream.kafka.partition_reader import read_range, topic_bounds, unreadable
from stream.kafka.topic_id import is_other_topic, topic_id
from stream.sessions.offsets import decode_metadata
from stream.sessions.session_state import SessionState, continued
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings


def session_in_log(
    settings: Settings,
    rule: SessionRule,
    columns: tuple[str, ...],
    session_id: str,
    partition: int,
    decoder: EventDecoder = OWN_EVENTS,
) -> tuple[SessionState | None, int]:
    """The session's state as recovery would make it, without hidden state and list, and the watermark in ms.

    Reads from the offset at which recovery would begin; if the session is not found there, the
    whole log of the partition. Raises NextclickError when the log cannot be read.
    """
    topic = settings.events_topic
    config = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
    consumer = outside_consumer(settings, settings.group_id, config)
    try:
        low, high = topic_bounds(consumer, topic)[partition]
        (committed,) = consumer.committed([TopicPartition(topic, partition)], timeout=ANSWER_TIMEOUT_S)
        metadata = decode_metadata(committed.metadata)
        if metadata and is_other_topic(metadata.topic_id, topic_id(settings, topic)):
            metadata = None
        state, watermark = None, NO_WATERMARK
        for first, before in (
            *([(metadata.recover_from, metadata.recover_watermark)] if metadata else []),
            (low, NO_WATERMARK),
        ):
            first, watermark = max(low, first), before
            for message in read_range(consumer, topic, partition, first, high):
                try:
                    event = event_of(decoder, message)
                except RejectedEvent:
                    continue
                if event.session_id == session_id:
                    state = continued(state, event, watermark.ms, rule)
                    if state is not None:
                        state.remember(event, message.offset() or 0, columns, settings.recent_items)
                watermark = watermark.after(event.session_id, event.event_time_ms)
            if state is not None:
                break
        return state, watermark.ms
    except KafkaException as error:
        raise unreadable(topic, error.args[0].str()) from None
    finally:
        consumer.close()
