"""Reads the topic of purchases from its beginning before the worker serves, then follows it.

Where there is no such topic, or one whose records are mostly no purchases, no purchase is kept or written,
and rules that need them are refused.
Tested by tests/integration/test_purchases.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from stream.catalogue.purchases import Purchases
from stream.kafka.table_topic import Meanings, TableTopic
from stream.logs import happening
from stream.settings import Settings

MEANINGS = Meanings(
    unread="What users have bought is not known, so the worker does not start.",
    unfollowed="What users buy from now on would not be left out of their lists.",
    made_anew="What the worker knows of purchases is of the topic before it.",
)
# So many records that are mostly no purchases need no more to be read.
ENOUGH_OF_OTHERS = 10_000
REPORT_REJECTED_EVERY_S = 60.0
logger = logging.getLogger(__name__)


class _OfOthers(Exception):
    """The topic is another program's."""


class PurchasesReader:
    """Fills the table of purchases from the topic. `load` first, then `start`."""

    def __init__(self, settings: Settings, purchases: Purchases) -> None:
        self._topic, self._purchases = settings.purchases_topic, purchases
        self._is_loaded = False
        self._logged, self._logged_s = 0, -REPORT_REJECTED_EVERY_S
        self._table = TableTopic(
            settings,
            settings.purchases_topic,
            "purchases",
            MEANINGS,
            apply=self._apply,
            progress=purchases.reading,
            pass_time=self._report_rejected,
        )

    def load(self) -> None:
        """Read the topic as it is now. Raises NextclickError when it cannot be read."""
        started_s = time.monotonic()
        try:
            self._purchases.is_kept = self._table.load()
        except _OfOthers:
            self._purchases.is_kept = True
        self._is_loaded = True
        if self._purchases.is_kept and self._purchases.is_of_others:
            self._give_up()
            return
        if not self._purchases.is_kept:
            logger.info(
                "there is no topic %s: what users buy is not kept beyond their sessions until a worker "
                "starts that finds it (`nextclick topics create`)",
                self._topic,
                extra=happening("no_purchases_topic", topic=self._topic),
            )
            return
        self._report_rejected()
        logger.info(
            "purchases of %d users are known by %s; read in %.1f s",
            len(self._purchases),
            self._topic,
            time.monotonic() - started_s,
            extra=happening("purchases_loaded", users=len(self._purchases)),
        )

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Follow the topic from where `load` ended; does nothing where there is none."""
        if self._purchases.is_kept:
            self._table.start(on_failure)

    def stop(self) -> None:
        """End the thread and the connection."""
        if self._purchases.is_kept:
            self._table.stop()

    def _give_up(self) -> None:
        reading = self._purchases.reading
        logger.warning(
            "%d of %d records read of %s are no purchases: it is another program's topic, which is left "
            "alone; what users buy is not kept beyond their sessions: name another topic in "
            "NEXTCLICK_PURCHASES_TOPIC, and make it with `nextclick topics create`",
            reading.rejected.total(),
            reading.rejected.total() + reading.records,
            self._topic,
            extra=happening("purchases_topic_of_others", topic=self._topic),
        )
        self._table.stop()
        self._purchases.give_up()

    def _apply(self, messages: Sequence[Message], position: str) -> None:
        self._purchases.apply((_bytes(message.key()), _bytes(message.value())) for message in messages)
        rejected = self._purchases.reading.rejected.total()
        if not self._is_loaded and rejected > ENOUGH_OF_OTHERS and self._purchases.is_of_others:
            raise _OfOthers

    def _report_rejected(self) -> None:
        """Log records that are no purchases, once a minute at most."""
        rejected = self._purchases.reading.rejected.total()
        if rejected == self._logged or time.monotonic() - self._logged_s < REPORT_REJECTED_EVERY_S:
            return
        logger.warning(
            "%d records of %s are no purchases; what was known before stays",
            rejected - self._logged,
            self._topic,
            extra=happening("purchases_rejected", topic=self._topic, rejected=rejected - self._logged),
        )
        self._logged, self._logged_s = rejected, time.monotonic()


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
