"""Which worker has which partition, by the description of the group that shares `events`.

A member's client id has its name and its address. The group is asked in a thread, when somebody wants to
know and what is known is older than KEPT_S, this worker's own partitions are others than then, or an owner
turned out to be none; at most once in AGAIN_S. While brokers are away, what was known last goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream.asking.bounded_worker import BoundedWorker
from stream.logs import happening
from stream.settings import Settings
from stream.web_address import address_in

KEPT_S = 10.0
AGAIN_S = 1.0
ANSWER_TIMEOUT_S = 5.0
MOST_WAITING = 128
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """A worker and where it is asked."""

    worker_id: str
    address: str


class DescribesGroups(Protocol):
    """The part of Kafka's AdminClient that is used here."""

    def describe_consumer_groups(self, group_ids: list[str], /, *, request_timeout: float) -> Any:
        """Futures of the descriptions by group."""


class PartitionOwners:
    """The owners of the partitions, of another worker's view: `of` from the event loop."""

    def __init__(
        self,
        settings: Settings,
        own_partitions: Callable[[], Iterable[int]],
        *,
        admin: DescribesGroups | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._own_partitions = own_partitions
        self._admin = admin
        self._now_s = now_s
        self._thread = BoundedWorker("owners", MOST_WAITING)
        self._owners: dict[int, Owner] = {}
        self._known: tuple[float, frozenset[int]] | None = None
        self._asked_s = float("-inf")
        self._problem = ""

    async def of(self, number: int) -> Owner | None:
        """The owner of a partition, None while it is not known."""
        if not self._is_current():
            await self._thread(self.refresh)
        return self._owners.get(number)

    def doubt(self) -> None:
        """An owner turned out to be none: ask the group before the next answer."""
        self._known = None

    def refresh(self) -> None:
        """Ask the group unless what is known is current, or it was asked just now."""
        if self._is_current() or self._now_s() - self._asked_s < AGAIN_S:
            return
        self._asked_s = self._now_s()
        own = frozenset(self._own_partitions())
        try:
            # While the group rebalances it names nobody; who has a partition no more says so.
            self._owners = {**self._owners, **self._described()}
        except KafkaException as error:
            problem = error.args[0].str()
            if problem != self._problem:
                logger.warning(
                    "the group did not say who has which partition: %s",
                    problem,
                    extra=happening("owners_unknown", error=problem),
                )
            self._problem = problem
            # From the end of the attempt, or each who waited for it would make one more; then seldom.
            self._asked_s = self._now_s() + KEPT_S - AGAIN_S
            return
        self._problem = ""
        self._known = self._asked_s, own

    def _is_current(self) -> bool:
        known = self._known
        return (
            known is not None
            and self._now_s() - known[0] < KEPT_S
            and known[1] == frozenset(self._own_partitions())
        )

    def _described(self) -> dict[int, Owner]:
        settings = self._settings
        if self._admin is None:
            # librdkafka's own log would repeat every failed connection.
            self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        asked = self._admin.describe_consumer_groups([settings.group_id], request_timeout=ANSWER_TIMEOUT_S)
        owners = {}
        for member in asked[settings.group_id].result(timeout=2 * ANSWER_TIMEOUT_S).members:
            named = address_in(member.client_id or "")
            for place in member.assignment.topic_partitions if named else ():
                if place.topic == settings.events_topic and named:
                    owners[place.partition] = Owner(*named)
        return owners
