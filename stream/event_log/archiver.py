"""The archiver: a consumer, in its own group, that writes each record of `events` to an archive once.

The folder's files say where a partition goes on, and are read whenever the partition is
assigned; the group's commits only show the lag. A kill at any moment leaves whole parts
and an unfinished file: the next archiver removes it and reads its records again.

Tested by tests/faults/test_archive.py and tests/integration/test_event_log.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_consumer import consumer_config, on_commit, topic_made_anew
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_part import OpenPart, unwritable
from stream.event_log.columns import record_of_message
from stream.event_log.kafka_reader import KafkaEvents
from stream.failpoints import reach
from stream.kafka.consumers import log_assigned, offset_bounds, raise_unless_transient
from stream.kafka.topic_id import UNKNOWN, other_id
from stream.logs import happening
from stream.settings import Settings

BATCH_RECORDS = 10_000
# Of all partitions together; above it the largest one writes a row group.
BUFFERED_BYTES = 64 << 20
IDLE_POLL_S = 0.5
# Of the question whether the topic is still the same one, before each part is named.
ID_TIMEOUT_S = 5.0
logger = logging.getLogger(__name__)


@dataclass
class ArchiveReport:
    """The records in named parts, the number of these parts, and the records in no named part (lag)."""

    events: int = 0
    parts: int = 0
    lag: int = 0


class Archiver:
    """Archives the partitions that the group assigns to it; one thread, which calls `run`.

    A part is finished after `rotate_events` records or `rotate_s` seconds, whichever comes first.
    """

    def __init__(
        self,
        settings: Settings,
        folder: ArchiveFolder,
        *,
        rotate_events: int,
        rotate_s: float,
        decoder: EventDecoder = OWN_EVENTS,
        progress: Callable[[ArchiveReport], None] = lambda report: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._topic = settings.events_topic
        self._folder = folder
        self._rotate_events = rotate_events
        self._rotate_s = rotate_s
        self._decoder = decoder
        self._progress = progress
        self._clock_s = clock_s
        self._topic_id = UNKNOWN
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        self._positions: dict[int, int] = {}
        self._archived: dict[int, int] = {}
        self._parts: dict[int, OpenPart] = {}
        self.report = ArchiveReport()

    def run(self, stopping: threading.Event, *, until_end: bool = False) -> ArchiveReport:
        """Archive until `stopping`, or with `until_end` until the archive holds what the log holds now.

        In both cases every record that was read is archived before the return. Raises NextclickError when
        the log no longer has the records that the archive lacks, or the disk cannot be written.
        """
        log = self._open_archive()
        # Not before a broker has answered: until then the consumer would log errors.
        self._consumer = Consumer(consumer_config(self._settings))
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            while not stopping.is_set():
                self._poll()
                if until_end and self._reached(log):
                    break
            self._finish(set(self._parts))
            self._measure()
        finally:
            # Closing revokes the partitions: after an error that must not publish unfinished parts.
            self._discard(set(self._parts))
            self._consumer.close()
        return self.report

    def _open_archive(self) -> dict[int, tuple[int, int]]:
        """Make the folder the topic's archive, and check that it can go on. Returns the log's bounds."""
        with closing(KafkaEvents(self._settings)) as log:
            bounds, self._topic_id = log.bounds(), log.topic_id()
        try:
            self._folder.root.mkdir(parents=True, exist_ok=True)
            self._folder.belong_to(self._topic, self._topic_id, self._decoder.session_gap_s)
        except OSError as error:
            raise unwritable(self._folder.root, error) from None
        for number, (low, high) in bounds.items():
            self._next_offset(number, self._folder.end(number), low, high)
        return bounds

    def _next_offset(self, number: int, end: int | None, low: int, high: int) -> int:
        """The offset at which a partition's archive goes on. Raises NextclickError if the log lacks it."""
        if end is None:
            if low:
                logger.warning(
                    "partition %d: the log begins at %d; what was before is not in the archive",
                    number,
                    low,
                    extra=happening("events_lost", partition=number, first=0, end=low),
                )
            return low
        if end < low:
            raise self._gap_error(number, end, low)
        if end > high:
            raise NextclickError(
                f"the archive of partition {number} ends at offset {end}, the log of {self._topic} at {high}",
                "The topic was emptied or made anew, or the brokers lost records.",
                "Archive the new log into a folder of its own: --folder.",
            )
        return end

    def _gap_error(self, number: int, end: int, low: int) -> NextclickError:
        return NextclickError(
            f"offsets {end} to {low} of partition {number} of {self._topic} are neither in the archive "
            f"{self._folder.root} nor in the log",
            f"Retention removed {low - end:,} records before they were archived; they are lost.",
            "Archive on into another --folder; set retention.ms=-1 on the topic and let the archiver run.",
        )

    def _poll(self) -> None:
        """Add the waiting records, finish the parts that are due, and report the progress."""
        for message in self._consumer.consume(BATCH_RECORDS, timeout=IDLE_POLL_S):
            self._add(message)
        while sum(part.buffered_bytes for part in self._parts.values()) > BUFFERED_BYTES:
            max(self._parts.values(), key=lambda part: part.buffered_bytes).write_group()
        now_s = self._clock_s()
        self._finish({n for n, part in self._parts.items() if now_s - part.began_s >= self._rotate_s})
        self._measure()
        self._progress(self.report)

    def _add(self, message: Message) -> None:
        number, offset = message.partition() or 0, message.offset() or 0
        error = message.error()
        if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            low, high = offset_bounds(self._consumer, TopicPartition(self._topic, number))
            position = self._next_offset(number, self._positions[number], low, high)
            raise topic_made_anew(self._topic, f"it had no offset {position}, and has now")
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise_unless_transient(error, self._settings)
            return
        if number not in self._positions or (error is not None and offset <= self._positions[number]):
            # Revoked by the call that returned it; or the log ends where it was read.
            return
        if offset < self._positions[number]:
            raise topic_made_anew(
                self._topic, f"offset {offset} came after {self._positions[number]} were read"
            )
        part = self._parts.get(number)
        if part is None:
            part = OpenPart(self._folder, number, self._positions[number], self._clock_s(), self._decoder)
            self._parts[number] = part
        if error is not None:
            # The log's last offsets hold no records (aborted transactions); the part covers them.
            part.end = offset
        else:
            if offset > self._positions[number]:
                logger.info(
                    "partition %d: offsets %d to %d hold no records",
                    number,
                    self._positions[number],
                    offset,
                    extra=happening(
                        "offsets_empty", partition=number, first=self._positions[number], end=offset
                    ),
                )
            part.add(record_of_message(message))
            reach("archive-1-buffered")
        self._positions[number] = part.end
        if part.count >= self._rotate_events:
            self._finish({number})

    def _finish(self, numbers: set[int]) -> None:
        """Publish the open parts of the partitions `numbers` and commit."""
        ended: list[TopicPartition] = []
        if numbers & self._parts.keys():
            self._check_topic()
        for number in sorted(numbers & self._parts.keys()):
            part = self._parts[number].publish()
            self.report.events += self._parts.pop(number).count
            self.report.parts += 1
            self._archived[number] = part.end
            ended.append(TopicPartition(self._topic, number, part.end))
        self._commit(ended)

    def _check_topic(self) -> None:
        """Raise NextclickError when the topic was made anew since the start: its offsets are others."""
        now = other_id(self._admin, self._topic, self._topic_id, ID_TIMEOUT_S)
        if now is not None:
            raise topic_made_anew(self._topic, f"its id was {self._topic_id}, is {now}")

    def _commit(self, ended: list[TopicPartition]) -> None:
        if not ended:
            return
        try:
            self._consumer.commit(offsets=ended, asynchronous=True)
        except KafkaException as error:
            on_commit(error.args[0], ended)
        reach("archive-5-committed")

    def _discard(self, numbers: set[int]) -> None:
        for number in numbers & self._parts.keys():
            self._parts.pop(number).discard()

    def _measure(self) -> None:
        """Count the records of these partitions that are in no named part, as of the newest fetch."""
        self.report.lag = 0
        for number, archived in self._archived.items():
            place = TopicPartition(self._topic, number)
            _, newest = self._consumer.get_watermark_offsets(place, cached=True)
            self.report.lag += max(newest, self._positions[number]) - archived

    def _reached(self, log: dict[int, tuple[int, int]]) -> bool:
        """Whether the archive has reached the log's ends, including the partitions of other archivers."""
        if any(self._positions.get(number, end) < end for number, (_, end) in log.items()):
            return False
        self._finish({number for number in self._parts if self._archived[number] < log[number][1]})
        return all((self._folder.end(number) or low) >= end for number, (low, end) in log.items())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read the folder: another archiver may have archived these partitions in the meantime."""
        starts: list[TopicPartition] = []
        for number in sorted(tp.partition for tp in partitions):
            try:
                end = self._folder.open_partition(number)
            except OSError as error:
                raise unwritable(self._folder.root, error) from None
            bounds = offset_bounds(consumer, TopicPartition(self._topic, number))
            start = self._next_offset(number, end, *bounds)
            self._positions[number] = self._archived[number] = start
            starts.append(TopicPartition(self._topic, number, start))
        if starts:
            consumer.incremental_assign(starts)
            log_assigned(starts)
            self._commit([tp for tp in starts if tp.offset])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Archive what was read, then give the partitions up."""
        self._finish({tp.partition for tp in partitions})
        self._forget(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Other archivers have them already and go on from the newest part: discard the unfinished ones."""
        self._discard({tp.partition for tp in partitions})
        numbers = sorted(tp.partition for tp in partitions)
        logger.warning(
            "partitions lost after a silence: %s",
            numbers,
            extra=happening("partitions_lost", partitions=numbers),
        )
        self._forget(consumer, partitions)

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            self._positions.pop(tp.partition, None)
            self._archived.pop(tp.partition, None)
        consumer.incremental_unassign(partitions)
