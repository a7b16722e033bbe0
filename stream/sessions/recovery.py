"""Recovery of a partition: its local store, brought up to the committed offset from `events`.

One mechanism for a lost disk, a corrupt store and a partition that another worker had: read
events again and rebuild the *histories* (no model, decode speed); hidden states are rebuilt
when their sessions return. Decides where reading goes on; publishes nothing.

Tested by tests/faults/test_stores.py and tests/faults/test_sessions.py.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException, Message, TopicPartition
from rocksdict import Cache

from model.data.session_rule import SessionRule
from model.errors import NextclickError
from stream.events import Event, RejectedEvent, decode_event
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader
from stream.kafka.retries import log_transient
from stream.logs import happening
from stream.sessions.history_replay import HistoryReplay
from stream.sessions.offsets import decode_metadata
from stream.sessions.partition import OpenPartition
from stream.sessions.store import CorruptStoreError, SessionStore, move_aside
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings

logger = logging.getLogger(__name__)


class Recovery:
    """Opens partitions and brings their histories up to the committed offset."""

    def __init__(
        self,
        settings: Settings,
        rule: SessionRule,
        columns: tuple[str, ...],
        block_cache: Cache,
        progress: Callable[[int, int, int], None] = lambda partition, done, total: None,
    ) -> None:
        self._settings = settings
        self._block_cache = block_cache
        self._rule = rule
        self._columns = columns
        self._progress = progress
        self._newest_ms = 0

    def open(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        """Open partition `number` in four steps; reading goes on at its `position`.

        1. open the local store, or an empty one in the place of a corrupt one
        2. keep it if it is at the committed offset or after it
        3. discard it if it is older than every open session, which then begin at `recover_from`
        4. rebuild the histories from there to the committed offset

        `committed` is the group's committed offset with its metadata, if there is one.
        """
        path = Path(self._settings.state_dir) / f"{self._settings.events_topic}-{number}"
        partition = OpenPartition(number, self._open_store(path))
        offset = committed.offset if committed is not None and committed.offset >= 0 else None
        if offset is None or committed is None or offset <= partition.position:
            logger.info(
                "partition %d: local store at offset %d, %d sessions",
                number,
                partition.position,
                partition.sessions,
                extra=happening(
                    "store_opened",
                    partition=number,
                    offset=partition.position,
                    sessions=partition.sessions,
                ),
            )
            return partition
        metadata = decode_metadata(committed.metadata)
        self._newest_ms = metadata.watermark.ms if metadata else 0
        if partition.store.applied is not None and metadata and partition.position < metadata.recover_from:
            logger.info(
                "partition %d: the local store, at offset %d, is older than every open session",
                number,
                partition.position,
                extra=happening("store_outdated", partition=number, offset=partition.position),
            )
            partition.store.close()
            shutil.rmtree(path)
            partition = OpenPartition(number, self._open_store(path))
        first = partition.position
        if partition.store.applied is None:
            # Without metadata (another program committed), an open session may begin at the start of the log.
            first = metadata.recover_from if metadata else 0
            partition.watermark = metadata.recover_watermark if metadata else NO_WATERMARK
        self._replay_histories(partition, first, offset)
        if metadata and metadata.watermark.ms > partition.watermark.ms:
            partition.watermark = metadata.watermark
        return partition

    def _open_store(self, path: Path) -> SessionStore:
        cache, buffer_bytes = self._block_cache, self._settings.write_buffer_bytes
        try:
            return SessionStore(path, block_cache=cache, write_buffer_bytes=buffer_bytes)
        except CorruptStoreError as error:
            aside = move_aside(path)
            logger.warning(
                "%s; kept as %s, sessions are recovered from the log",
                error.what,
                aside,
                extra=happening("store_corrupt", store=str(path), kept_as=str(aside)),
            )
            return SessionStore(path, block_cache=cache, write_buffer_bytes=buffer_bytes)

    def _replay_histories(self, partition: OpenPartition, first: int, end: int) -> None:
        """Apply the events in [first, end) to the histories, and write these."""
        number, topic = partition.number, self._settings.events_topic
        place = TopicPartition(topic, number)
        config = {
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "queued.min.messages": 100_000,
        }
        consumer = groupless_consumer(self._settings, "recovery", config)
        try:
            low, high = offset_bounds(consumer, place)
            if high < end:
                raise NextclickError(
                    f"{end} is committed for partition {number} of {topic}, its log ends at {high}",
                    "The topic was emptied or made anew, or the brokers lost records.",
                    "Name another group (NEXTCLICK_GROUP_ID), or reset this one's offsets.",
                )
            if first < low:
                logger.warning(
                    "partition %d: events %d to %d are no longer in the log",
                    number,
                    first,
                    low,
                    extra=happening("events_lost", partition=number, first=first, end=low),
                )
            # What is gone beyond the committed offset was never stepped: the source counts it as lost.
            start = min(max(first, low), end)
            logger.info(
                "partition %d: re-reading histories, offsets %d to %d",
                number,
                start,
                end,
                extra=happening("recovering", partition=number, first=start, end=end),
            )
            replay = HistoryReplay(partition, self._rule, self._columns, self._settings.recent_items)
            reader = PartitionReader(
                consumer,
                topic,
                lambda why, left: _unrecovered(number, why),
                passes=lambda error: log_transient(error, "recovering"),
                silence_s=math.inf,
            )
            position = start
            for batch in reader.read({number: (start, end)}):
                position = (batch[-1].offset() or 0) + 1
                replay.add(self._events(partition, batch), position)
                self._progress(number, position - start, end - start)
            if position < end:
                # The last offsets hold no records.
                position = end
                self._progress(number, end - start, end - start)
            replay.write(position)
        except KafkaException as error:
            raise _unrecovered(number, error.args[0].str()) from None
        finally:
            consumer.close()

    def _events(self, partition: OpenPartition, batch: list[Message]) -> list[tuple[int, Event]]:
        """The events of a batch with their offsets, without those that the source rejects."""
        # As in the source: with a slow clock, past events must not look like future ones.
        newest_ms = max(int(time.time() * 1000), self._newest_ms, partition.watermark.ms)
        latest_ms = newest_ms + int(self._settings.max_future_s * 1000)
        events: list[tuple[int, Event]] = []
        for message in batch:
            try:
                event = decode_event(message.value(), message.key())
            except RejectedEvent:
                continue
            # The source rejected it as future; if the wall clock has reached its time since, it is applied.
            if self._settings.min_event_time_ms <= event.event_time_ms <= latest_ms:
                events.append((message.offset() or 0, event))
        return events


def _unrecovered(number: int, why: str) -> NextclickError:
    return NextclickError(
        f"partition {number} could not be recovered: {why}",
        "Its sessions are incomplete, so nothing of it was stepped.",
        "Look at the brokers and at the retention of the events topic, then start again.",
    )
