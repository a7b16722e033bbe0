"""Transactions of Kafka: what is produced and the offsets that it was read up to count together, or not.

Tested by tests/faults/test_ingest.py and tests/faults/test_outcomes.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from model.errors import NextclickError
from stream.event_decoder import Headers
from stream.failpoints import reach
from stream.kafka.connection import remedy_for
from stream.logs import happening
from stream.settings import Settings

TRANSACTION_S = 60.0
# The group is giving its partitions to other members: they are assigned anew, and nothing is wrong.
OF_REBALANCES = frozenset(
    {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}
)
logger = logging.getLogger(__name__)


class RebalancedError(Exception):
    """The transaction was aborted, since the group has given partitions to others meanwhile."""


class Transactions:
    """One transaction after another. Raises NextclickError where the brokers refuse one for good."""

    def __init__(self, settings: Settings, command: str) -> None:
        """Of the processes of one command; ends what a process of the same name has left open."""
        self._command = command
        self._producer = Producer(
            {
                **settings.producer_config(),
                # A restart by this name ends what the process before it left open.
                "transactional.id": f"{settings.group_id}-{command}-{settings.worker_id}",
                "transaction.timeout.ms": int(TRANSACTION_S * 1000),
                "message.timeout.ms": int(TRANSACTION_S * 1000),
                "linger.ms": 5,
            }
        )
        self._ask(lambda: self._producer.init_transactions(TRANSACTION_S))

    def begin(self) -> None:
        """Begin one; the last one has been committed."""
        self._producer.begin_transaction()

    def produce(self, topic: str, value: Any, key: Any, timestamp_ms: int, headers: Headers = ()) -> None:
        """Add a record to the transaction."""
        while True:
            try:
                self._producer.produce(topic, value, key, timestamp=timestamp_ms, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._refused(error.args[0]) from None

    def commit(self, offsets: Sequence[TopicPartition], group: Any, *, is_counted: bool = True) -> None:
        """Commit the transaction, with the offsets of the group's member that read up to them.

        `is_counted`: whether failpoints count it. Raises RebalancedError when it was aborted instead.
        """
        try:
            self._ask(lambda: self._producer.send_offsets_to_transaction(list(offsets), group, TRANSACTION_S))
            if is_counted:
                reach(f"{self._command}-2-offsets-sent")
            self._ask(lambda: self._producer.commit_transaction(TRANSACTION_S))
            if is_counted:
                reach(f"{self._command}-3-committed")
        except RebalancedError:
            self._ask(lambda: self._producer.abort_transaction(TRANSACTION_S))
            raise

    def _ask(self, ask: Callable[[], object]) -> None:
        """Ask until the brokers have answered; an error that does not pass ends the process."""
        while True:
            try:
                ask()
                return
            except KafkaException as error:
                problem = error.args[0]
                if problem.txn_requires_abort() and problem.code() in OF_REBALANCES:
                    logger.info(
                        "the group gives partitions to others: a transaction is aborted, and its records are "
                        "read again",
                        extra=happening("transaction_aborted", error=problem.name()),
                    )
                    raise RebalancedError from None
                if not problem.retriable():
                    raise self._refused(problem) from None
                logger.warning(
                    "%s: %s; asking again",
                    "a transaction",
                    problem.str(),
                    extra=happening("transaction_repeated", error=problem.name()),
                )

    def _refused(self, problem: KafkaError) -> NextclickError:
        return NextclickError(
            f"a transaction was refused: {problem.str()}",
            "Nothing of it counts; its records are read again after a restart. Another process of the same "
            "--worker-id takes its place, or the brokers refuse.",
            remedy_for(
                problem, f"Give each `nextclick {self._command}` its own --worker-id, then start it again."
            ),
        )
