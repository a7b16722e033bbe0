"""Reads `items` from its beginning before the worker serves, then follows it in a thread of its own.

Every worker reads every partition, without a group's offsets: the table is in memory, so a restart
reads all of it again. A bad record is counted by its reason, and the last good word about its item
stays. Where there is no such topic every item may be listed.
Tested by tests/integration/test_items.py and tests/unit/stream/catalogue/test_items_reader.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.catalogue.catalogue import Catalogue, Word
from stream.catalogue.item_word import RejectedWord, decode_word
from stream.kafka.connection import remedy_for
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader, Ranges
from stream.kafka.retries import log_transient
from stream.kafka.topic_id import UNKNOWN, ask_topic_id, is_other_topic, topic_id
from stream.kafka.topics import partition_counts
from stream.logs import happening
from stream.settings import Settings

POLL_S = 0.1  # words that come within it are applied together
BATCH_WORDS = 10_000
PASS_TIME_EVERY_S = 0.5
CHECK_EVERY_S = 10.0
CHECK_TIMEOUT_S = 5.0
REPORT_REJECTED_EVERY_S = 60.0
logger = logging.getLogger(__name__)


class WordsDecoder:
    """Turns records into words; counts those that are none, and logs them once a minute at most."""

    def __init__(self, catalogue: Catalogue, topic: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._reading, self._topic, self._now_s = catalogue.reading, topic, now_s
        self._unreported, self._reported_s = 0, -REPORT_REJECTED_EVERY_S

    def decode(self, messages: Sequence[Message]) -> list[Word]:
        """The words of the records, in their order."""
        words: list[Word] = []
        for message in messages:
            key, value = message.key(), message.value()
            try:
                words.append(decode_word(_bytes(key), _bytes(value)))
            except RejectedWord as rejected:
                self._reading.rejected[rejected.reason] += 1
                self._report(message, rejected)
        self._reading.words += len(words)
        return words

    def _report(self, message: Message, rejected: RejectedWord) -> None:
        self._unreported += 1
        if self._now_s() - self._reported_s < REPORT_REJECTED_EVERY_S:
            return
        place = f"{message.partition()}-{message.offset()}"
        logger.warning(
            "record %s of %s is no word about an item: %s; what was said of the item before stays "
            "(%d such since this was last logged)",
            place,
            self._topic,
            rejected,
            self._unreported,
            extra=happening(
                "item_word_rejected", place=place, reason=rejected.reason, rejected=self._unreported
            ),
        )
        self._unreported, self._reported_s = 0, self._now_s()


class ItemsReader:
    """Fills the catalogue from the topic. `load` first, then `start`."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._decoder = WordsDecoder(catalogue, settings.items_topic)
        self._positions: dict[int, int] = {}
        self._topic_id = UNKNOWN
        self._consumer: Consumer | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Read the topic as it is now. Raises NextclickError when it cannot be read."""
        topic = self._settings.items_topic
        self._admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})
        partitions = partition_counts(self._admin, self._settings).get(topic)
        if not partitions:
            logger.info(
                "there is no topic %s: every item may be listed until a worker starts that finds it "
                "(`nextclick topics create`)",
                topic,
                extra=happening("no_items_topic", topic=topic),
            )
            return
        started_s = time.monotonic()
        self._topic_id = topic_id(self._settings, topic)
        self._consumer = groupless_consumer(
            self._settings,
            "items",
            {
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 32_768,
            },
        )
        places = [TopicPartition(topic, number) for number in range(partitions)]
        bounds = {place.partition: offset_bounds(self._consumer, place) for place in places}
        self._positions = {number: first for number, (first, _) in bounds.items()}
        for messages in PartitionReader(self._consumer, topic, self._unread).read(bounds):
            self._apply(messages)
        # Compaction may have left no record at the end.
        self._positions = {number: end for number, (_, end) in bounds.items()}
        self._catalogue.apply((), self._position())
        reading = self._catalogue.reading
        reading.lag, reading.checked_s = 0, time.time()
        logger.info(
            "%d items are known by %d words of %s, %d of them may not be listed; read in %.1f s",
            len(self._catalogue.table),
            reading.words,
            topic,
            self._catalogue.unlisted,
            time.monotonic() - started_s,
            extra=happening(
                "items_loaded",
                items=len(self._catalogue.table),
                words=reading.words,
                unlisted=self._catalogue.unlisted,
                rejected=dict(reading.rejected),
            ),
        )

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Follow the topic from where `load` ended; does nothing where there is none."""
        if self._consumer is None:
            return
        self._thread = threading.Thread(
            target=self._run, args=(self._consumer, on_failure), name="items", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._consumer is not None:
            self._consumer.close()

    def _run(self, consumer: Consumer, on_failure: Callable[[BaseException], None]) -> None:
        try:
            topic = self._settings.items_topic
            consumer.assign([TopicPartition(topic, n, offset) for n, offset in self._positions.items()])
            passed_s = checked_s = time.monotonic()
            while not self._stopping.is_set():
                messages = consumer.consume(BATCH_WORDS, timeout=POLL_S)
                self._apply([message for message in messages if self._is_record(message)])
                now_s = time.monotonic()
                if now_s - passed_s >= PASS_TIME_EVERY_S:
                    self._catalogue.pass_time()
                    passed_s = now_s
                if now_s - checked_s >= CHECK_EVERY_S:
                    self._check(consumer)
                    checked_s = time.monotonic()
        except BaseException as error:  # noqa: BLE001 - crash-only: whatever it is ends the process
            on_failure(error)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() != error._PARTITION_EOF and not log_transient(error, "reading items"):  # noqa: SLF001
            topic = self._settings.items_topic
            raise NextclickError(
                f"reading {topic} failed: {error.str()}",
                "What the shop says of its items from now on would not be obeyed.",
                remedy_for(error, "Look at the brokers, then start the worker again."),
            )
        return False

    def _apply(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        words = self._decoder.decode(messages)
        for message in messages:
            self._positions[message.partition() or 0] = (message.offset() or 0) + 1
        self._catalogue.apply(words, self._position())

    def _position(self) -> str:
        """The last offset that is applied of each partition, as a list's header has it."""
        return ",".join(f"{number}-{offset - 1}" for number, offset in sorted(self._positions.items()))

    def _check(self, consumer: Consumer) -> None:
        """Ask how much there is to read, and whether this is still the topic; silence is no error."""
        topic, reading = self._settings.items_topic, self._catalogue.reading
        try:
            if is_other_topic(self._topic_id, ask_topic_id(self._admin, topic, CHECK_TIMEOUT_S)):
                raise NextclickError(
                    f"the topic {topic} was made anew under the worker",
                    "What the worker knows of the items is of the topic before it.",
                    "Start the worker again: it reads the new topic from its beginning.",
                )
            ends = {
                number: consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=CHECK_TIMEOUT_S, cached=False
                )[1]
                for number in self._positions
            }
        except KafkaException:
            # The time of the last answer stands still, which an alert watches.
            return
        reading.lag = sum(max(0, end - self._positions[number]) for number, end in ends.items())
        reading.checked_s = time.time()

    def _unread(self, why: str, left: Ranges) -> NextclickError:
        return NextclickError(
            f"{self._settings.items_topic} could not be read: {why}",
            "Which items may be listed is not known, so the worker does not start.",
            "Look at the brokers and at this client's rights, then start the worker again.",
        )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
