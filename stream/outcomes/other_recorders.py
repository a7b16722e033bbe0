"""The other recorders of the group: whether they have every partition, so that one more has nothing to do.

Tested by tests/unit/stream/outcomes/test_outcome_recorder.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from stream.kafka.group_members import group_members
from stream.kafka.retries import retry_while_away
from stream.logs import happening
from stream.settings import Settings

ASK_EVERY_S = 2.0
logger = logging.getLogger(__name__)


class OtherRecorders:
    """Asked by a recorder that the group has given no partition."""

    def __init__(
        self,
        admin: AdminClient,
        settings: Settings,
        purpose: str,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin, self._partitions, self._clock_s = admin, settings.partitions, clock_s
        self._settings = settings.model_copy(update={"group_id": f"{settings.group_id}-{purpose}"})
        self._own_id = f"{settings.worker_id}-{purpose}"
        self._asked_s = float("-inf")

    def have_all(self) -> bool:
        """Whether others have all partitions; asks the brokers at most every ASK_EVERY_S."""
        if self._clock_s() - self._asked_s < ASK_EVERY_S:
            return False
        self._asked_s = self._clock_s()
        members = retry_while_away(
            lambda: group_members(self._admin, self._settings), "asking which recorders have the partitions"
        )
        others = [member for member in members if member.worker_id != self._own_id]
        if {number for member in others for number in member.partitions} < set(range(self._partitions)):
            return False
        logger.info(
            "%d other recorders have all %d partitions: none is left for this one, which ends",
            sum(bool(member.partitions) for member in others),
            self._partitions,
            extra=happening("no_partition_left", partitions=self._partitions),
        )
        return True
