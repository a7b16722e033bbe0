"""Reads `items` from its beginning before the worker serves, then follows it in a thread of its own.

A bad record is counted by its reason, and the last good word about its item stays. Where there is no such
topic every item may be listed.
Tested by tests/integration/test_items.py and tests/unit/stream/catalogue/test_items_reader.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from stream.catalogue.catalogue import Catalogue, Word
from stream.catalogue.item_word import RejectedWord, decode_word
from stream.kafka.table_topic import Meanings, TableTopic
from stream.logs import happening
from stream.settings import Settings

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


MEANINGS = Meanings(
    unread="Which items may be listed is not known, so the worker does not start.",
    unfollowed="What the shop says of its items from now on would not be obeyed.",
    made_anew="What the worker knows of the items is of the topic before it.",
)


class ItemsReader:
    """Fills the catalogue from the topic. `load` first, then `start`."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._topic, self._catalogue = settings.items_topic, catalogue
        self._decoder = WordsDecoder(catalogue, settings.items_topic)
        self._table = TableTopic(
            settings,
            settings.items_topic,
            "items",
            MEANINGS,
            apply=lambda messages, position: catalogue.apply(self._decoder.decode(messages), position),
            progress=catalogue.reading,
            pass_time=catalogue.pass_time,
        )

    def load(self) -> None:
        """Read the topic as it is now. Raises NextclickError when it cannot be read."""
        started_s = time.monotonic()
        if not self._table.load():
            logger.info(
                "there is no topic %s: every item may be listed until a worker starts that finds it "
                "(`nextclick topics create`)",
                self._topic,
                extra=happening("no_items_topic", topic=self._topic),
            )
            return
        reading = self._catalogue.reading
        logger.info(
            "%d items are known by %d words of %s, %d of them may not be listed; read in %.1f s",
            len(self._catalogue.table),
            reading.words,
            self._topic,
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
        self._table.start(on_failure)

    def stop(self) -> None:
        """End the thread and the connection."""
        self._table.stop()


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
