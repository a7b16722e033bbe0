"""Asking Kafka again and again while its brokers are away or busy; but not when they refuse."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.kafka.connection import remedy_for
from stream.logs import happening

PATIENCE_S = 120.0
AGAIN_AFTER_S = 0.2
T = TypeVar("T")
logger = logging.getLogger(__name__)

# What says that the brokers are away or busy, and passes.
PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)


def retry_while_away(
    ask: Callable[[], T],
    what: str,
    *,
    meaning: str = "Nothing is lost: what was not written is read again after a restart.",
    remedy: str = "Look at the brokers, then start the worker again.",
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The answer of `ask`, asked again while Kafka is away, for PATIENCE_S at most; then NextclickError."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            if problem.code() not in PASSING or time.monotonic() > deadline_s:
                raise NextclickError(
                    f"{what} failed: {problem.str()}", meaning, remedy_for(problem, remedy)
                ) from None
            logger.warning(
                "%s: %s; asking again",
                what,
                problem.str(),
                extra=happening("kafka_away", doing=what, error=problem.name()),
            )
            sleep(AGAIN_AFTER_S)
