"""Recovery of a partition: its local store, brought up to the committed offset from `events`.

One mechanism for a lost disk, a corrupt store and a partition that another worker had: read
events again and rebuild the *histories* (no model, decode speed); hidden states are rebuilt
when their sessions return. Decides where reading goes on; publishes nothing. Trusts no offset
of another topic: after a topic was made anew, its partitions begin anew, too.

Tested by tests/faults/test_stores.py, tests/faults/test_sessions.py and tests/cases/test_recreated_topic.py.
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
from stream.event_decoder import OWN_EVENTS, EventDecoder, event_of
from stream.events import Event, RejectedEvent
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader
from stream.kafka.retries import log_transient
from stream.kafka.topic_id import first_other
from stream.logs import happening
from stream.sessions.history_replay import HistoryReplay
from stream.sessions.offsets import CommitMetadata, decode_metadata
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
        *,
        topic_id: str = "",
        decoder: EventDecoder = OWN_EVENTS,
    ) -> None:
        self._settings = settings
        self._block_cache = block_cache
        self._rule = rule
        self._columns = columns
        self._progress = progress
        self._topic_id = topic_id
        self._decoder = decoder
        self._newest_ms = 0

    def open(self, number: int, committed: TopicPartition | None) -> OpenPartition:
        """Open partition `number` in five steps; reading goes on at its `position`.

        1. open the local store, or an empty one in the place of a corrupt one
        2. leave out what is another topic's: the store, the committed offset, or both
        3. keep the store if it is at the committed offset or after it
        4. discard it if it is older than every open session, which then begin at `recover_from`
        5. rebuild the histories from there to the committed offset

        `committed` is the group's committed offset with its metadata, if there is one.
        """
        path = Path(self._settings.state_dir) / f"{self._settings.events_topic}-{number}"
        partition = OpenPartition(number, self._open_store(path))
        offset = committed.offset if committed is not None and committed.offset >= 0 else None
        metadata = decode_metadata(committed.metadata) if committed is not None else None
        partition, is_of_topic = self._without_other_topic(partition, path, offset, metadata)
        if offset is None or not is_of_topic or offset <= partition.position:
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
        self._newest_ms = metadata.watermark.ms if metadata else 0
        skipped = 0 if metadata else offset - partition.position
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
            self._name_topic(partition)
        first = partition.position
        if partition.store.applied is None:
            # Without metadata (another program committed), an open session may begin at the start of the log.
            first = metadata.recover_from if metadata else 0
            partition.watermark = metadata.recover_watermark if metadata else NO_WATERMARK
        self._replay_histories(partition, first, offset)
        if metadata and metadata.watermark.ms > partition.watermark.ms:
            partition.watermark = metadata.watermark
        if skipped:
            partition.skipped = skipped
            logger.warning(
                "partition %d: another program has set the committed offset to %d; "
                "the %d events from offset %d on get no list",
                number,
                offset,
                skipped,
                offset - skipped,
                extra=happening(
                    "events_skipped", partition=number, first=offset - skipped, end=offset, events=skipped
                ),
            )
        return partition

    def _without_other_topic(
        self, partition: OpenPartition, path: Path, offset: int | None, metadata: CommitMetadata | None
    ) -> tuple[OpenPartition, bool]:
        """The partition without another topic's state, and whether the committed offset is this topic's.

        What names no topic was stored before ids were kept. It counts, unless the other of the two, the
        store or the committed metadata, shows that the topic was made anew since.
        """
        stored, committed = partition.topic_id, metadata.topic_id if metadata else ""
        other = first_other((stored, committed), self._topic_id)
        if other is None:
            if partition.store.applied is not None and not stored and self._topic_id:
                logger.info(
                    "partition %d: the store names no topic, as older ones do; it is taken for one of %s %s",
                    partition.number,
                    self._settings.events_topic,
                    self._topic_id,
                    extra=happening("topic_adopted", partition=partition.number, topic_id=self._topic_id),
                )
            self._name_topic(partition)
            return partition, True
        is_of_topic = offset is not None and committed == self._topic_id
        if stored == self._topic_id:
            # Begun anew before, and not committed since.
            return partition, False
        kept_as = None
        if partition.store.applied is not None:
            partition.store.close()
            kept_as = move_aside(path, "other-topic")
            partition = OpenPartition(partition.number, self._open_store(path))
        partition.begun_anew = not is_of_topic
        self._name_topic(partition)
        logger.warning(
            "partition %d: %s is another topic than the one of its store or committed offset: "
            "its id is %s, was %s; store kept as %s, %s",
            partition.number,
            self._settings.events_topic,
            self._topic_id,
            other,
            kept_as,
            "histories are recovered from the log" if is_of_topic else "read from the log's beginning",
            extra=happening(
                "topic_made_anew",
                partition=partition.number,
                topic_id=self._topic_id,
                was=other,
                kept_as=str(kept_as),
                begun_anew=partition.begun_anew,
            ),
        )
        return partition, is_of_topic

    def _name_topic(self, partition: OpenPartition) -> None:
        if self._topic_id and partition.topic_id != self._topic_id:
            partition.set_topic_id(self._topic_id)

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
                    "The topic was emptied, or made anew without a known id, or the brokers lost records.",
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
                event = event_of(self._decoder, message)
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
