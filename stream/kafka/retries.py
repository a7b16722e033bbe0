"""Which errors of Kafka pass by themselves, and asking again while its brokers are away or busy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from model.errors import NextclickError
from stream.kafka.connection import remedy_for
from stream.logs import happening

RETRY_FOR_S = 120.0
RETRY_INTERVAL_S = 0.2
T = TypeVar("T")
logger = logging.getLogger(__name__)

# The brokers are away or busy; the same request succeeds later.
TRANSIENT_ERRORS = frozenset(
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


def is_transient(error: KafkaError) -> bool:
    """Whether the brokers are only away or busy, so that the client may go on.

    >>> is_transient(KafkaError(KafkaError.NOT_COORDINATOR))
    True
    >>> is_transient(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    False
    """
    # A broker that stood still is fenced, and can hold no topic, until the controller hears of it again.
    is_fenced_broker = error.code() == KafkaError.INVALID_REPLICATION_FACTOR and "fenced" in error.str()
    return not error.fatal() and (error.code() in TRANSIENT_ERRORS or is_fenced_broker)


def log_transient(error: KafkaError, doing: str) -> bool:
    """Whether an error is transient; logs that what the client is `doing` goes on later."""
    if not is_transient(error):
        return False
    logger.warning(
        "Kafka is away: %s; %s goes on when it is back",
        error.str(),
        "recovery" if doing == "recovering" else "reading",
        extra=happening("kafka_away", doing=doing, error=error.name()),
    )
    return True


def retry_while_away(
    ask: Callable[[], T],
    what: str,
    *,
    meaning: str = "Nothing is lost: what was not written is read again after a restart.",
    remedy: str = "Look at the brokers, then start the worker again.",
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The answer of `ask`, asked again while Kafka is away.

    Raises NextclickError when the brokers refuse, or are away for longer than RETRY_FOR_S.
    """
    deadline_s = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            # A partition whose leader is being chosen is unknown to the client.
            away = is_transient(problem) or problem.code() == KafkaError._UNKNOWN_PARTITION  # noqa: SLF001
            if not away or time.monotonic() > deadline_s:
                raise NextclickError(
                    f"{what} failed: {problem.str()}", meaning, remedy_for(problem, remedy)
                ) from None
            logger.warning(
                "%s: %s; asking again",
                what,
                problem.str(),
                extra=happening("kafka_away", doing=what, error=problem.name()),
            )
            sleep(RETRY_INTERVAL_S)
