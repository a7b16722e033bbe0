"""Recovery of a partition: local store, catch-up, or histories re-read from `events`.

One mechanism for a lost disk, a corrupt store and a partition that was elsewhere: read
events again and rebuild the *histories* (no model, decode speed); hidden states follow
when their sessions return. Decides where reading goes on; publishes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from model.errors import NextclickError
from model.sessions import SessionRule
from stream.events import Event, RejectedEvent, decode_event
from stream.partition import OpenPartition, recover_from
from stream.settings import Settings
from stream.state import NO_VERSION, SessionState, new_state
from stream.store import CorruptStoreError, Fence, SessionStore, move_aside

ANSWER_TIMEOUT_S = 30.0
BATCH_RECORDS = 5_000
logger = logging.getLogger(__name__)


class CommitMetadata(msgspec.Struct, array_like=True):
    """What travels beside a committed offset: event-time watermark and recovery's first offset."""

    watermark_ms: int
    recover_from: int


def encode_metadata(fence: Fence) -> str:
    """Fence → commit metadata."""
    return msgspec.json.encode(CommitMetadata(fence.watermark_ms, recover_from(fence))).decode()


def decode_metadata(text: str | None) -> CommitMetadata | None:
    """Commit metadata, None where it is absent or another program's."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=CommitMetadata)
    except msgspec.DecodeError:
        return None


class Recovery:
    """Opens partitions and brings their histories up to the committed offset."""

    def __init__(
        self,
        settings: Settings,
        rule: SessionRule,
        columns: tuple[str, ...],
        progress: Callable[[int, int, int], None] = lambda partition, done, total: None,
    ) -> None:
        self._settings = settings
        self._rule = rule
        self._columns = columns
        self._progress = progress

    def open(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        """Open partition `number`; its `position` is where reading goes on.

        `committed` is the group's committed offset with its metadata, if there is one.
        """
        path = Path(self._settings.state_dir) / f"{self._settings.events_topic}-{number}"
        partition = OpenPartition(number, self._open_store(path))
        offset = committed.offset if committed is not None and committed.offset >= 0 else None
        if offset is None or offset <= partition.position:
            logger.info(
                "partition %d: local store at offset %d, %d sessions",
                number,
                partition.position,
                partition.sessions,
            )
            return partition
        if partition.store.fence is not None:
            first = partition.position
        else:
            first = self._first_offset(number, committed)
        self._replay_histories(partition, first, offset)
        return partition

    def _open_store(self, path: Path) -> SessionStore:
        sizes = {
            "block_cache_bytes": self._settings.block_cache_bytes,
            "write_buffer_bytes": self._settings.write_buffer_bytes,
        }
        try:
            return SessionStore(path, **sizes)
        except CorruptStoreError as error:
            aside = move_aside(path)
            logger.warning("%s; kept as %s, sessions are recovered from the log", error, aside)
            return SessionStore(path, **sizes)

    def _first_offset(self, number: int, committed: TopicPartition | None) -> int:
        """The oldest offset that an open session may need: metadata, else the start of the log."""
        metadata = decode_metadata(committed.metadata if committed is not None else None)
        return metadata.recover_from if metadata is not None else 0

    def _replay_histories(self, partition: OpenPartition, first: int, end: int) -> None:
        """Apply the events in [first, end) to the histories, and write them."""
        number, topic = partition.number, self._settings.events_topic
        consumer = Consumer(
            {
                **self._settings.kafka_config(),
                "group.id": f"{self._settings.group_id}-recovery",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
            }
        )
        try:
            low, _ = consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=ANSWER_TIMEOUT_S, cached=False
            )
            if first < low:
                logger.warning("partition %d: events %d to %d are no longer in the log", number, first, low)
            start = max(first, low)
            logger.info("partition %d: re-reading histories, offsets %d to %d", number, start, end)
            consumer.assign([TopicPartition(topic, number, start)])
            position = start
            while position < end:
                position = self._replay_batch(partition, consumer, position, end)
                self._progress(number, position - start, end - start)
        except KafkaException as error:
            raise NextclickError(
                f"partition {number} could not be recovered: {error.args[0].str()}",
                "Its sessions are incomplete, so nothing of it was stepped.",
                "Look at the brokers and at the retention of the events topic, then start again.",
            ) from None
        finally:
            consumer.close()

    def _replay_batch(self, partition: OpenPartition, consumer: Consumer, position: int, end: int) -> int:
        """Apply one batch of records and write it; returns the next position."""
        watermark_ms = partition.watermark_ms
        arrivals: list[tuple[int, Event]] = []
        for message in consumer.consume(BATCH_RECORDS, timeout=0.5):
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise KafkaException(error)
            offset = message.offset()
            # The end of the log before `end`: the offsets between hold no records (aborted or compacted).
            if offset is None or offset >= end or error is not None:
                position = end
                break
            position = offset + 1
            if partition.is_duplicate(offset):
                continue
            try:
                arrivals.append((offset, decode_event(message.value(), message.key())))
            except RejectedEvent:
                continue
        ids = list(dict.fromkeys(event.session_id for _, event in arrivals))
        states = dict(zip(ids, partition.load(ids), strict=True))
        oldest = {i: None if s is None else s.recent_offsets[0] for i, s in states.items()}
        before = {i: s for i, s in states.items() if s is not None}
        for offset, event in arrivals:
            states[event.session_id] = self._remember(states[event.session_id], event, offset, watermark_ms)
            watermark_ms = max(watermark_ms, event.event_time_ms)
        for session_id, state in states.items():
            if state is not None:
                partition.put(0, session_id, state, oldest[session_id])
            elif session_id in before:
                partition.delete(0, session_id, oldest[session_id] or 0)
        partition.write(*partition.seal(0, [], position, watermark_ms))
        partition.forget_written(0)
        return position

    def _remember(
        self, state: SessionState | None, event: Event, offset: int, watermark_ms: int
    ) -> SessionState | None:
        """A session's history after one more event; its hidden state and list are left to be rebuilt."""
        if event.kind == "session_end":
            return None
        if state is None or self._rule.ends(state.last_event_time_ms, event.event_time_ms, watermark_ms):
            state = new_state()
        state.remember(event, offset, self._columns, self._settings.recent_items)
        state.model_version, state.hidden = NO_VERSION, b""
        state.list_items, state.list_scores = [], b""
        return state
